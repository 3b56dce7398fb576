"""The families of gated decoders: one row each. A row says where transformers keeps a layer's
parts and what llama.cpp's converter (`conversion/*.py` there) makes of them in GGUF."""

import math
from dataclasses import dataclass

import gguf
import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig,
                          GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM,
                          MistralConfig, MistralForCausalLM, Olmo2Config, Olmo2ForCausalLM,
                          OlmoConfig, OlmoForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def full_rope(config):
    """The rope parameters of the layers that see the whole prompt."""
    return config.rope_parameters.get("full_attention", config.rope_parameters)


# Writers of GGUF metadata, each for a key or two.


def key_lengths(w, c):
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)


def rms_eps(w, c):
    w.add_layer_norm_rms_eps(c.rms_norm_eps)


def layer_norm_eps(w, _):
    w.add_layer_norm_eps(1e-5)  # OLMo's config has no key for it


def file_type(w, _):
    w.add_file_type(gguf.LlamaFileType.ALL_F32)


def rope_base(w, c):
    w.add_rope_freq_base(full_rope(c)["rope_theta"])


def rope_base_swa(w, c):
    if full_rope(c)["rope_type"] != "default":  # files of older converters have no such key
        w.add_rope_freq_base_swa(c.rope_parameters["sliding_attention"]["rope_theta"])


def rope_dims(w, c):
    w.add_rope_dimension_count(int(head_dim(c) * full_rope(c).get("partial_rotary_factor", 1.0)))


def rope_linear(w, c):
    if full_rope(c)["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(full_rope(c)["factor"])


def rope_long(w, c):
    w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
    if full_rope(c)["rope_type"] == "longrope":
        ratio = c.max_position_embeddings / c.original_max_position_embeddings
        w.add_rope_scaling_attn_factors(
            math.sqrt(1 + math.log(ratio) / math.log(c.original_max_position_embeddings)))


def vocab_size(w, c):
    w.add_vocab_size(c.vocab_size)


def window(w, c):
    w.add_sliding_window(c.sliding_window or 0)


def soft_caps(w, c):
    w.add_attn_logit_softcapping(c.attn_logit_softcapping)
    w.add_final_logit_softcapping(c.final_logit_softcapping)


def clip_qkv(w, c):
    if c.clip_qkv is not None:
        w.add_clamp_kqv(c.clip_qkv)


@dataclass(frozen=True)
class Family:
    """`layer`, {GGUF's name: transformers' name} of a layer's weights; `keys`, the metadata
    besides the sizes that all share; the rest names modules of a transformers layer."""
    config: type
    model: type
    arch: str                     # general.architecture
    layer: dict
    keys: tuple
    biased: tuple = ()            # GGUF names of `layer` that have a bias too
    permuted: bool = False        # rows of q and k are interleaved in GGUF
    gain_offset: float = 0.0      # a norm multiplies by offset + weight; GGUF holds the sum
    norms: str = "rms"            # or "layer": centred, without parameters
    resid_mid: str = "post_attention_layernorm"  # its input is hook_resid_mid
    attn_out: str = "self_attn"   # its output is added to the residual stream
    mlp_out: str = "mlp"          # likewise

    @property
    def fused(self):
        """One matrix holds gate (its first half) and up."""
        return "mlp.gate_up_proj" in self.layer.values()


ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
GATED = {
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BEFORE = {"attn_norm": "input_layernorm"}
LLAMA = BEFORE | ATTENTION | {"ffn_norm": "post_attention_layernorm"} | GATED
QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
AFTER = {
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
BEFORE_MLP = {"ffn_norm": "pre_feedforward_layernorm"}
LLAMA_KEYS = (key_lengths, rms_eps, file_type, rope_base, rope_dims, vocab_size)
GEMMA_KEYS = (key_lengths, rms_eps, file_type)  # no rope base: 10000 is the default
POST_NORMS = dict(attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")

FAMILIES = {  # by config.model_type
    "llama": Family(LlamaConfig, LlamaForCausalLM, "llama", LLAMA, LLAMA_KEYS, permuted=True),
    # GGUF has no place for Mistral's window.
    "mistral": Family(MistralConfig, MistralForCausalLM, "llama", LLAMA, LLAMA_KEYS,
                      permuted=True),
    "qwen2": Family(Qwen2Config, Qwen2ForCausalLM, "qwen2", LLAMA,
                    (rope_base, rms_eps, file_type), biased=("attn_q", "attn_k", "attn_v")),
    "qwen3": Family(Qwen3Config, Qwen3ForCausalLM, "qwen3", LLAMA | QK_NORMS,
                    (rope_base, rms_eps, key_lengths, file_type)),
    "gemma": Family(GemmaConfig, GemmaForCausalLM, "gemma", LLAMA, GEMMA_KEYS, gain_offset=1.0),
    "gemma2": Family(Gemma2Config, Gemma2ForCausalLM, "gemma2", LLAMA | BEFORE_MLP | AFTER,
                     GEMMA_KEYS + (soft_caps, window), gain_offset=1.0,
                     resid_mid="pre_feedforward_layernorm", **POST_NORMS),
    "gemma3_text": Family(Gemma3TextConfig, Gemma3ForCausalLM, "gemma3",
                          LLAMA | BEFORE_MLP | QK_NORMS | AFTER,
                          GEMMA_KEYS + (rope_base, window, rope_linear, rope_base_swa),
                          gain_offset=1.0, resid_mid="pre_feedforward_layernorm", **POST_NORMS),
    "olmo": Family(OlmoConfig, OlmoForCausalLM, "olmo", ATTENTION | GATED,
                   (rope_base, file_type, layer_norm_eps, clip_qkv), permuted=True,
                   norms="layer"),
    "olmo2": Family(Olmo2Config, Olmo2ForCausalLM, "olmo2", ATTENTION | GATED | QK_NORMS | AFTER,
                    (rope_base, rms_eps, file_type), resid_mid="mlp", **POST_NORMS),
    "phi3": Family(Phi3Config, Phi3ForCausalLM, "phi3",
                   BEFORE | {"attn_qkv": "self_attn.qkv_proj",
                             "attn_output": "self_attn.o_proj",
                             "ffn_norm": "post_attention_layernorm",
                             "ffn_up": "mlp.gate_up_proj",
                             "ffn_down": "mlp.down_proj"},
                   (rope_long, rms_eps, rope_dims, rope_base, file_type, window)),
}


def family_of(config):
    return FAMILIES[config.model_type]


def hf_to_gguf_names(config):
    """{transformers name: GGUF name} of every tensor of the model."""
    family = family_of(config)
    names = {"model.embed_tokens.weight": "token_embd.weight"}
    if family.norms == "rms":
        names["model.norm.weight"] = "output_norm.weight"
    if not config.tie_word_embeddings:
        names["lm_head.weight"] = "output.weight"
    for i in range(config.num_hidden_layers):
        for short, long in family.layer.items():
            for kind in ("weight", "bias") if short in family.biased else ("weight",):
                names[f"model.layers.{i}.{long}.{kind}"] = f"blk.{i}.{short}.{kind}"
    return names


def load_model(config, state):
    config._attn_implementation = "eager"
    model = family_of(config).model(config).eval().float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    assert config.tie_word_embeddings == (
        model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr())
    assert model.config._attn_implementation == "eager"
    return model


def rope_divisors(rope, dim):
    """What llama3's scaling divides the `dim / 2` frequencies by."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    divisors = []
    for i in range(0, dim, 2):
        turns = rope["original_max_position_embeddings"] * rope["rope_theta"] ** (-i / dim) \
            / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return divisors


def rope_tensors(config):
    """The tensors that GGUF holds for a rope scaling that needs one number per frequency."""
    rope = full_rope(config)
    if rope["rope_type"] == "llama3":
        found = {"rope_freqs.weight": rope_divisors(rope, head_dim(config))}
    elif rope["rope_type"] == "longrope":
        found = {"rope_factors_long.weight": rope["long_factor"],
                 "rope_factors_short.weight": rope["short_factor"]}
    else:
        found = {}
    return {name: torch.tensor(values, dtype=torch.float32).numpy()
            for name, values in found.items()}
