//! The tensors of a checkpoint that its arithmetic does not ask for.

use std::collections::HashSet;

use super::error::ModelError;
use super::family::Family;
use super::store::{Format, TensorStore};
use super::tensors::ROPE_TENSORS;

/// Endings of tensors that no arithmetic needs: a stored copy of a tied head, and rotation tables that follow from the
/// configuration.
const UNUSED: &[&str] = &[
    "lm_head.weight",
    "rotary_emb.inv_freq",
    "rotary_emb.cos_cached",
    "rotary_emb.sin_cached",
];

/// The beginnings of tensors inside a model of safetensors; in a GGUF file all tensors are.
const INSIDE: &[&str] = &["model.", "lm_head.", "base_model."];

/// How many tensors a message names.
const NAMED: usize = 3;

/// Refuses tensors inside the model that the family's arithmetic has no place for: a bias, a norm, an adapter, the
/// scales of quantized weights. Warns of others, such as the head of a reward model.
pub(super) fn check(
    store: &TensorStore,
    expected: &[(String, Vec<usize>)],
    family: &'static Family,
) -> Result<Vec<String>, ModelError> {
    let known: HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let is_unused = |name: &str| {
        let factors = store.format() == Format::Gguf && ROPE_TENSORS.contains(&name);
        factors || UNUSED.iter().any(|end| name.ends_with(end))
    };
    let is_inside = |name: &&str| {
        let by_name = INSIDE.iter().any(|start| name.starts_with(start)) || name.contains("lora_");
        by_name || store.format() == Format::Gguf
    };
    let others = store.names();
    let others = others.filter(|name| !known.contains(name) && !is_unused(name));
    let (inside, outside): (Vec<&str>, Vec<&str>) = others.partition(is_inside);
    if !inside.is_empty() {
        return Err(without_place(family, first_of(inside)));
    }
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{} of the tensors are not part of a {} model and not used: {}{}",
        outside.len(),
        family.name,
        first_of(outside.clone()).join(", "),
        if outside.len() > NAMED { ", ..." } else { "" }
    )])
}

fn first_of(mut names: Vec<&str>) -> Vec<String> {
    names.sort_unstable();
    names.truncate(NAMED);
    names.into_iter().map(str::to_string).collect()
}

/// The error for tensors that this family's arithmetic has no place for: leaving them out would give other numbers.
pub(super) fn without_place(family: &Family, names: Vec<String>) -> ModelError {
    ModelError::Unfit(format!(
        "the checkpoint has tensors that a {} model does not use: {}; this variant is not supported{}",
        family.name,
        names.join(", "),
        hint(&names)
    ))
}

/// What to do about tensors that have no place.
fn hint(names: &[String]) -> &'static str {
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    if any("lora_") {
        "; they are an adapter: merge it into its base model first (peft: model.merge_and_unload())"
    } else if ["scale", "qweight", "qzeros", "absmax", "quant"]
        .into_iter()
        .any(any)
    {
        "; they belong to quantized weights: take the unquantized model, or a GGUF file of it"
    } else {
        ""
    }
}
