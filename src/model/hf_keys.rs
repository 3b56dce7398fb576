//! Every key of `config.json` is accounted for: it is read, or it must have the value that changes nothing, or it
//! changes nothing when a model runs; `hf_keys.txt` has them all. A key that is not there is a warning that names it.

use serde_json::Value;

use super::error::ModelError;
use super::family::Family;
use super::kinds::{AttentionScale, Biases, NormKind, QkNorm, Windows};
use super::object::{Object, shown};
use super::reading::Reading;
use crate::hub::KnownKeys;

const KEYS: KnownKeys = KnownKeys(include_str!("hf_keys.txt"));

/// Refuses what is not computed; warns of each key that is not known, or not used by this family.
pub(super) fn check(reading: &mut Reading) -> Result<(), ModelError> {
    let (keys, family) = (&reading.keys, reading.family);
    for (key, value) in keys.values() {
        match KEYS.rule(key) {
            Some("any") => {}
            Some("read") if is_used(key, keys, family) => {}
            Some("read") => reading.warnings.push(format!(
                "config.json: {key} = {} has no effect in a {} model, as in transformers",
                shown(value),
                family.name
            )),
            Some(rule) => keys.check_rule(key, value, rule)?,
            None => reading.warnings.push(format!(
                "config.json: {} = {} is not known to this version and not used; if it changes what the model \
                 computes, the numbers are not the model's",
                key.escape_debug(),
                shown(value)
            )),
        }
    }
    refuse_of_family(keys, family)?;
    reading.warnings.extend(check_architectures(keys, family)?);
    Ok(())
}

/// Whether a key that is read means something in this family.
fn is_used(key: &str, keys: &Object, family: &Family) -> bool {
    let windows = family.windows;
    let is_false = keys.value(key) == Some(&Value::Bool(false));
    match key {
        "sliding_window" => windows != Windows::Never,
        "use_sliding_window" => windows == Windows::FromLayer || is_false,
        "max_window_layers" => windows == Windows::FromLayer,
        "sliding_window_pattern" => matches!(windows, Windows::AllButEvery(_)),
        "query_pre_attn_scalar" => family.attention_scale != AttentionScale::HeadDim,
        "rms_norm_eps" => family.norm != NormKind::LayerNorm,
        "rope_local_base_freq" => family.local_rope_theta.is_some(),
        "hidden_act" | "hidden_activation" => {
            keys.value(key) == keys.value(family.activation_key) || key == family.activation_key
        }
        _ => true,
    }
}

/// Keys of which one value is right in some families and another in others.
fn refuse_of_family(keys: &Object, family: &Family) -> Result<(), ModelError> {
    // Qwen 2 has its biases whatever the key says.
    if keys.flag("attention_bias")? == Some(true) && family.biases == Biases::None {
        return Err(keys.refused("attention_bias", true, "false"));
    }
    let qk_norm = family.qk_norm != QkNorm::None;
    match keys.flag("use_qk_norm")? {
        Some(said) if said != qk_norm => {
            Err(keys.refused("use_qk_norm", said, &qk_norm.to_string()))
        }
        _ => Ok(()),
    }
}

/// The class that the file names must be one of its family. transformers goes by `model_type` alone; where the two
/// disagree, nobody knows what the weights are.
fn check_architectures(keys: &Object, family: &Family) -> Result<Vec<String>, ModelError> {
    let class = family.transformers_class;
    let mut warnings = Vec::new();
    for name in keys.texts("architectures")?.unwrap_or_default() {
        match name.strip_prefix(class) {
            Some("ForCausalLM") => {}
            Some(_) => warnings.push(format!(
                "config.json: architectures has {name}; the model is run as {class}ForCausalLM"
            )),
            None => {
                let accepted = format!("{class}ForCausalLM, as model_type says");
                return Err(keys.refused("architectures", name, &accepted));
            }
        }
    }
    Ok(warnings)
}
