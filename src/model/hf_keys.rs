//! Every key of `config.json` is accounted for: it is read, or it must have the value that changes nothing, or it
//! stands in the list of keys that change nothing when a model runs. A key that is in none of these is a warning that
//! names it.
//!
//! The lists were made from transformers 5.24: the configurations of the families, what their models read of them, and
//! the base class, with the keys that older versions wrote.

use serde_json::Value;

use super::ModelError;
use super::family::Family;
use super::hf_object::{Object, shown};
use super::kinds::{ActivationKey, AttentionScale, Biases, NormKind, QkNorm, Windows};

/// Keys that [`HfConfig`](super::hf_config::HfConfig) reads.
const READ: &[&str] = &[
    "architectures",
    "attention_bias",
    "attn_logit_softcapping",
    "clip_qkv",
    "final_logit_softcapping",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "query_pre_attn_scalar",
    "rms_norm_eps",
    "rope_local_base_freq",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "use_qk_norm",
    "use_sliding_window",
    "vocab_size",
];

/// Keys that change nothing when a model runs.
const NO_EFFECT: &[&str] = &[
    // What the file is, and who made it. Code that a repository brings (`auto_map`) is never run, here as in
    // transformers unless it is told to.
    "_commit_hash",
    "_name_or_path",
    "auto_map",
    "dtype",
    "is_llama_config",
    "license",
    "model_max_length",
    "name_or_path",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    // Training alone.
    "attention_dropout",
    "classifier_dropout",
    "embd_pdrop",
    "gradient_checkpointing",
    "hidden_dropout",
    "initializer_range",
    "resid_pdrop",
    // How transformers computes and what it returns, with the same numbers.
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_flash_attn_2_enabled",
    "_sliding_window_pattern", // written beside layer_types, which are read
    "attn_implementation",
    "cache_implementation",
    "chunk_size_feed_forward",
    "is_decoder",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "return_dict",
    "tf_legacy_loss",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    // An older name beside `sliding_window`, which no model of transformers reads.
    "sliding_window_size",
    // Heads for other tasks.
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "prefix",
    "problem_type",
    "task_specific_params",
    "tie_encoder_decoder",
    // Token ids; the tokenizer's files say what is prepended.
    "boi_token_index",
    "bos_token_id",
    "decoder_start_token_id",
    "eoi_token_index",
    "eos_token_id",
    "image_token_index",
    "mm_tokens_per_image",
    "pad_token_id",
    "sep_token_id",
    "unk_token_id",
    // Generation: `generate` takes its settings from the command line.
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "constraints",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_decoder_ids",
    "forced_eos_token_id",
    "generation_config",
    "guidance_scale",
    "length_penalty",
    "low_memory",
    "max_length",
    "max_new_tokens",
    "max_time",
    "min_length",
    "min_new_tokens",
    "min_p",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "penalty_alpha",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "return_dict_in_generate",
    "sequence_bias",
    "stop_strings",
    "suppress_tokens",
    "target_lookbehind",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// The value with which a key of another kind of model changes nothing.
#[derive(Clone, Copy)]
enum Neutral {
    False,
    Zero,
    One,
    /// An empty list or object.
    Empty,
    /// None: only null.
    Null,
}

use Neutral::{Empty, False, Null, One, Zero};

/// Keys whose arithmetic is not computed here, with the value that they may have beside null.
const MUST_BE: &[(&str, Neutral)] = &[
    // Biases and norms that these families do not have.
    ("lm_head_bias", False),
    ("mlp_bias", False),
    ("qk_layernorm", False),
    ("qkv_bias", False),
    ("use_bias", False),
    // Other attention.
    ("add_cross_attention", False),
    ("alibi", False),
    ("attention_chunk_size", Null),
    ("attn_output_gate", False),
    ("attn_temperature_tuning", False),
    ("full_attn_mod", One),
    ("interpolate_factor", One),
    ("is_encoder_decoder", False),
    ("no_rope_layer_interval", Null),
    ("no_rope_layers", Empty),
    ("parallel_attn", False),
    ("rope_interleaved", False),
    ("use_alibi", False),
    ("use_bidirectional_attention", False),
    ("use_mrope", False),
    ("use_parallel_residual", False),
    // Multipliers (Granite, Cohere, MiniCPM).
    ("attention_multiplier", Null),
    ("embedding_multiplier", One),
    ("logit_scale", One),
    ("logits_scaling", One),
    ("residual_multiplier", One),
    ("scale_depth", Null),
    ("scale_emb", One),
    // Experts.
    ("mlp_only_layers", Empty),
    ("moe_intermediate_size", Zero),
    ("n_routed_experts", Zero),
    ("num_experts", Zero),
    ("num_experts_per_tok", Zero),
    ("num_local_experts", Zero),
    // Layers that differ, heads that were cut.
    ("per_layer_config", Empty),
    ("pruned_heads", Empty),
    // Weights that are not the plain ones.
    ("compression_config", Null),
    ("quantization_config", Null),
    // Images and sound beside the text.
    ("audio_config", Null),
    ("text_config", Null),
    ("vision_config", Null),
];

/// Refuses what is not computed; returns a warning for each key that is not known, or not used by this family.
pub(super) fn check(top: &Object, family: &'static Family) -> Result<Vec<String>, ModelError> {
    let mut warnings = Vec::new();
    for key in top.keys() {
        let Some(value) = top.value(key) else {
            continue;
        };
        if let Some((_, neutral)) = MUST_BE.iter().find(|(known, _)| *known == key) {
            neutral.check(top, key, value)?;
        } else if READ.contains(&key) {
            if !is_used(key, top, family) {
                warnings.push(format!(
                    "config.json: {key} = {} has no effect in a {} model, as in transformers",
                    shown(value),
                    family.name
                ));
            }
        } else if !NO_EFFECT.contains(&key) {
            warnings.push(format!(
                "config.json: {} = {} is not known to this version and not used; if it changes what the model \
                 computes, the numbers are not the model's",
                key.escape_debug(),
                shown(value)
            ));
        }
    }
    refuse_of_family(top, family)?;
    warnings.extend(check_architectures(top, family)?);
    Ok(warnings)
}

impl Neutral {
    fn check(self, top: &Object, key: &str, value: &Value) -> Result<(), ModelError> {
        let empty = || {
            value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(serde_json::Map::is_empty)
        };
        let (is_neutral, accepted) = match self {
            False => (*value == Value::Bool(false), "false"),
            Zero => (value.as_f64() == Some(0.0), "0 or null"),
            One => (value.as_f64() == Some(1.0), "1"),
            Empty => (empty(), "an empty one or null"),
            Null => (false, "null"),
        };
        match is_neutral {
            true => Ok(()),
            false => Err(top.refused(key, value, accepted)),
        }
    }
}

/// Whether a key that is read means something in this family.
fn is_used(key: &str, top: &Object, family: &Family) -> bool {
    let windows = family.windows;
    let is_false = top.value(key) == Some(&Value::Bool(false));
    match key {
        "sliding_window" => windows != Windows::Never,
        "use_sliding_window" => windows == Windows::FromLayer || is_false,
        "max_window_layers" => windows == Windows::FromLayer,
        "sliding_window_pattern" => matches!(windows, Windows::AllButEvery(_)),
        "query_pre_attn_scalar" => family.attention_scale != AttentionScale::HeadDim,
        "rms_norm_eps" => family.norm != NormKind::LayerNorm,
        "rope_local_base_freq" => family.local_rope_theta.is_some(),
        "hidden_act" | "hidden_activation" => {
            let used = match family.activation_key {
                ActivationKey::HiddenAct => "hidden_act",
                ActivationKey::HiddenActivation => "hidden_activation",
            };
            key == used || top.value(key) == top.value(used)
        }
        _ => true,
    }
}

/// Keys of which one value is right in some families and another in others.
fn refuse_of_family(top: &Object, family: &Family) -> Result<(), ModelError> {
    // Qwen 2 has its biases whatever the key says.
    let biases = (top.flag("attention_bias")? == Some(true)) && family.biases == Biases::None;
    let qk_norm = family.qk_norm != QkNorm::None;
    let norms = top.flag("use_qk_norm")?.is_some_and(|said| said != qk_norm);
    for (key, refused, accepted) in [
        ("attention_bias", biases, "false".to_string()),
        ("use_qk_norm", norms, qk_norm.to_string()),
    ] {
        match top.value(key) {
            Some(value) if refused => return Err(top.refused(key, value, &accepted)),
            _ => {}
        }
    }
    Ok(())
}

/// The class that the file names must be one of its family. transformers goes by `model_type` alone; where the two
/// disagree, nobody knows what the weights are.
fn check_architectures(top: &Object, family: &Family) -> Result<Vec<String>, ModelError> {
    let class = family.transformers_class;
    let mut warnings = Vec::new();
    for name in top.texts("architectures")?.unwrap_or_default() {
        let Some(kind) = name.strip_prefix(class) else {
            let accepted = format!("{class}ForCausalLM, as model_type says");
            let value = Value::from(name);
            return Err(top.refused("architectures", &value, &accepted));
        };
        if kind != "ForCausalLM" {
            warnings.push(format!(
                "config.json: architectures has {name}; the model is run as {class}ForCausalLM"
            ));
        }
    }
    Ok(warnings)
}
