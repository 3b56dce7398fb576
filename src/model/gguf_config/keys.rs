//! Every key that llama.cpp knows and that could stand in a file of these architectures: read, accepted only where it
//! changes nothing, or without any effect. (llama.cpp: `LLM_KV_NAMES` in `llama-arch.cpp`, `load_hparams` in
//! `llama-model.cpp`, and `load_arch_hparams` of each architecture.)

use crate::hub::gguf::Value;
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::tokens::is_known_gguf_key;

use super::metadata::Metadata;

/// Keys that other files of this folder compute with, or hold against what they compute.
const READ: &[&str] = &[
    "attention.clamp_kqv",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.key_length_swa",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "attention.value_length_swa",
    "attn_logit_softcapping",
    "block_count",
    "context_length",
    "embedding_length",
    "embedding_length_out",
    "feed_forward_length",
    "final_logit_softcapping",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
];

/// What a key may say without changing anything.
#[derive(Clone, Copy)]
enum Only {
    /// 0, as integer or as f32.
    Zero,
    /// A factor of 1, or 0, llama.cpp's "none".
    One,
    /// `false`.
    False,
    /// `true`.
    True,
    /// Zeros alone.
    Zeros,
    /// The activation of the family.
    Activation,
}

impl Only {
    fn allows(self, value: &Value, activation: Activation) -> bool {
        let zero = value.integer() == Some(0) || value.float() == Some(0.0);
        match self {
            Only::Zero => zero,
            Only::One => zero || value.float() == Some(1.0),
            Only::False => value.flag() == Some(false),
            Only::True => value.flag() == Some(true),
            Only::Zeros => value
                .each_integer()
                .is_some_and(|mut all| all.all(|n| n == 0)),
            Only::Activation => value
                .text()
                .is_some_and(|name| names(activation).contains(&name)),
        }
    }

    fn accepted(self, activation: Activation) -> String {
        let values = match self {
            Only::Zero => "0".to_string(),
            Only::One => "1".to_string(),
            Only::False => "false".to_string(),
            Only::True => "true".to_string(),
            Only::Zeros => "zeros alone".to_string(),
            Only::Activation => names(activation).join(", "),
        };
        format!("{values}, or no such key")
    }
}

fn names(activation: Activation) -> &'static [&'static str] {
    match activation {
        Activation::Silu => &["silu", "swish", "swiglu"],
        Activation::GeluTanh => &["gelu", "gelu_tanh", "gelu_pytorch_tanh", "geglu"],
    }
}

/// Keys of arithmetic that is not computed here.
const REFUSED_UNLESS: &[(&str, Only)] = &[
    // Numbers that other architectures multiply by.
    ("logit_scale", Only::One),
    ("embedding_scale", Only::One),
    ("residual_scale", Only::One),
    ("attention.output_scale", Only::One),
    ("attention.value_scale", Only::One),
    ("attention.temperature_length", Only::Zero),
    ("attention.temperature_scale", Only::Zero),
    // Other attention.
    ("attention.causal", Only::True),
    ("attention.max_alibi_bias", Only::Zero),
    ("attention.relative_buckets_count", Only::Zero),
    ("attention.q_lora_rank", Only::Zero),
    ("attention.kv_lora_rank", Only::Zero),
    ("attention.shared_kv_layers", Only::Zero),
    ("attention.key_length_mla", Only::Zero),
    ("attention.value_length_mla", Only::Zero),
    ("attention.rope_pattern", Only::Zeros),
    ("attention.recurrent_layers", Only::Zeros),
    ("full_attention_interval", Only::Zero),
    // Other rotations.
    ("rope.dimension_sections", Only::Zeros),
    ("rope.scaling.alpha", Only::Zero),
    // Other layers.
    ("use_parallel_residual", Only::False),
    ("hidden_activation", Only::Activation),
    ("nextn_predict_layers", Only::Zero),
    ("n_deepstack_layers", Only::Zero),
    ("num_loops", Only::Zero),
    ("embedding_length_per_layer_input", Only::Zero),
    ("adapters.count", Only::Zero),
    ("hyper_connection.count", Only::Zero),
    ("swin_norm", Only::False),
    ("rescale_every_n_layers", Only::Zero),
    ("token_shift_count", Only::Zero),
    ("attn_res.block_size", Only::Zero),
    ("activation.situ_beta", Only::Zero),
    ("activation.situ_linear_beta", Only::Zero),
    // Experts.
    ("expert_count", Only::Zero),
    ("expert_used_count", Only::Zero),
    ("expert_shared_count", Only::Zero),
    ("expert_group_count", Only::Zero),
    ("expert_group_used_count", Only::Zero),
    ("leading_dense_block_count", Only::Zero),
    ("interleave_moe_layer_step", Only::Zero),
    ("moe_every_n_layers", Only::Zero),
];

/// Keys without effect on what is computed here, whatever they say.
const WITHOUT_EFFECT: &[&str] = &[
    // Where a model's length came from; no arithmetic reads it.
    "rope.scaling.finetuned",
    // Of YaRN, whose type is refused.
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
    // The order of query and key rows, which goes by the architecture.
    "tensor_data_layout",
    // What is made of the last residuals of a text; the logits are as they are.
    "pooling_type",
    "classifier.output_labels",
    "classifier.pooling_type",
    "dense_2_feat_in",
    "dense_2_feat_out",
    "dense_3_feat_in",
    "dense_3_feat_out",
    // Of experts, where there are none.
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "expert_gating_func",
    "expert_group_scale",
    "expert_weights_norm",
    "expert_weights_scale",
    "router_logit_softcapping",
    // Of decoders behind an encoder.
    "decoder_block_count",
    "decoder_start_token_id",
    // Of norms that no layer here has.
    "attention.group_norm_epsilon",
    "attention.group_norm_groups",
];

/// Warnings of unknown keys that are kept.
const MOST_WARNINGS: usize = 16;

/// Refuses what is not computed, and returns a warning for each key of the model's own namespaces that stands in no
/// list.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>, ModelError> {
    let own = format!("{}.", metadata.family.gguf_arch);
    let mut unknown = 0;
    let mut warnings = Vec::new();
    for (key, value) in &metadata.header.metadata {
        let known = match key.strip_prefix(&own) {
            Some(name) => is_known(metadata, name, value)?,
            None => !key.starts_with("tokenizer.ggml.") || is_known_gguf_key(key),
        };
        unknown += usize::from(!known);
        if !known && unknown <= MOST_WARNINGS {
            warnings.push(format!(
                "the GGUF key {} = {value} is not known here and was not used; if it changes what the model computes, \
                 the numbers are not the model's",
                key.escape_debug()
            ));
        }
    }
    if unknown > MOST_WARNINGS {
        let more = unknown - MOST_WARNINGS;
        warnings.push(format!("and {more} more GGUF keys that are not known here"));
    }
    Ok(warnings)
}

fn is_known(metadata: &Metadata, name: &str, value: &Value) -> Result<bool, ModelError> {
    let activation = metadata.family.activation;
    let only = REFUSED_UNLESS.iter().find(|(key, _)| *key == name);
    match only {
        Some((_, only)) if !only.allows(value, activation) => {
            let accepted = only.accepted(activation);
            Err(metadata.unsupported(name, &value.to_string(), &accepted))
        }
        Some(_) => Ok(true),
        None => Ok(READ.contains(&name) || WITHOUT_EFFECT.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_stands_in_one_list() {
        let only = REFUSED_UNLESS.iter().map(|(key, _)| *key);
        let all = READ.iter().chain(WITHOUT_EFFECT).copied().chain(only);
        let mut seen = HashSet::new();
        for key in all {
            assert!(seen.insert(key), "{key} twice");
        }
    }
}
