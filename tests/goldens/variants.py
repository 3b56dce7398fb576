"""The tiny random checkpoints: one row each, with the ways to get its peculiarity wrong."""

from dataclasses import dataclass

import torch

TINY_SHAPE = dict(
    hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
    intermediate_size=80, max_position_embeddings=256, bos_token_id=0, eos_token_id=1,
    attention_bias=False)
TINY_LLAMA = TINY_SHAPE | dict(
    vocab_size=300, num_hidden_layers=4, hidden_act="silu", rms_norm_eps=1e-3,
    rope_parameters={"rope_type": "default", "rope_theta": 5000.0}, tie_word_embeddings=False,
    mlp_bias=False, pad_token_id=None)
TINY_GEMMA3 = TINY_SHAPE | dict(
    vocab_size=310, num_hidden_layers=7, hidden_activation="gelu_pytorch_tanh",
    rms_norm_eps=1e-4, query_pre_attn_scalar=16, sliding_window=8,
    layer_types=["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(7)],
    rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
    tie_word_embeddings=True, attn_logit_softcapping=None, final_logit_softcapping=None,
    pad_token_id=1)

# Shapes of the others. Where a family's config has no head_dim, it is 48 / 6.
SMALL = dict(
    vocab_size=290, hidden_size=48, num_attention_heads=6, num_key_value_heads=2,
    intermediate_size=56, num_hidden_layers=3, max_position_embeddings=256, bos_token_id=0,
    eos_token_id=1, pad_token_id=None)
SILU = dict(hidden_act="silu", rms_norm_eps=1e-3)
GELU = dict(rms_norm_eps=1e-3, tie_word_embeddings=True)


def rope(theta, kind="default", **scaling):
    return {"rope_parameters": {"rope_theta": theta, "rope_type": kind} | scaling}


LLAMA3_ROPE = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=96)
LONG_ROPE = dict(short_factor=[1.1, 1.6, 3.0], long_factor=[1.5, 4.0, 12.0],
                 partial_rotary_factor=0.75, original_max_position_embeddings=1024)
SLIDING, FULL = "sliding_attention", "full_attention"
SIX_LAYERS = [SLIDING] * 5 + [FULL]


def two_ropes(full, sliding):
    return {"rope_parameters": {FULL: full, SLIDING: sliding}}


PLAIN = {"rope_type": "default", "rope_theta": 1e4}
PLAIN_FULL = {"rope_type": "default", "rope_theta": 1e6}
LINEAR_FULL = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}


# Ways to get it wrong that no config can say.


def each_parameter(name, change):
    def apply(model):
        for n, p in model.named_parameters():
            if name in n:
                p.copy_(change(p))
    return apply


def each_module(name, make):
    """Replaces the modules of that name by `make(module)`."""
    def apply(model):
        for parent in list(model.modules()):
            if hasattr(parent, name):
                setattr(parent, name, make(getattr(parent, name)))
    return apply


class PerHead(torch.nn.Module):
    """A norm over the whole width, done over each head."""

    def __init__(self, norm, heads_width=8):
        super().__init__()
        self.norm, self.heads_width = norm, heads_width

    def forward(self, x):
        y = x.unflatten(-1, (-1, self.heads_width)).float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.norm.variance_epsilon)
        return self.norm.weight * y.flatten(-2)


class NotCentred(torch.nn.Module):
    def __init__(self, _):
        super().__init__()

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


def identity(_):
    return torch.nn.Identity()


def not_centred(model):
    for name in ("input_layernorm", "post_attention_layernorm", "norm"):
        each_module(name, NotCentred)(model)


def no_post_norms(model):
    for name in ("post_attention_layernorm", "post_feedforward_layernorm"):
        each_module(name, identity)(model)


def no_qk_norms(model):
    for name in ("q_norm", "k_norm"):
        each_module(name, identity)(model)


def qk_norms_per_head(model):
    for name in ("q_norm", "k_norm"):
        each_module(name, PerHead)(model)


no_biases = each_parameter("bias", torch.zeros_like)
no_gain_offset = each_parameter("norm", lambda p: p - 1)
up_before_gate = each_parameter("gate_up_proj", lambda p: torch.cat(p.chunk(2)[::-1]))
exact_gelu = each_module("act_fn", lambda _: torch.nn.GELU())
silu = each_module("act_fn", lambda _: torch.nn.SiLU())


def windows(without=None):
    return {"window 9": dict(sliding_window=9), "window 7": dict(sliding_window=7),
            "no window": without or dict(sliding_window=None)}


@dataclass(frozen=True)
class Variant:
    """`off`, {what is done wrong: a change of the config's arguments, or of the model}."""
    family: str
    config: dict
    seed: int
    add_bos: bool
    off: dict
    lengths: tuple = (1, 6, 21)
    ablation_layers: tuple = (0, 1, 2)
    embed_std: float = 0.4        # large and tied, a token would only ever repeat itself
    gguf: bool = True
    gguf_off: str | None = None  # the entry of `off` that llama.cpp does, GGUF or it lacking it


VARIANTS = {
    "tiny-llama": Variant(
        "llama", TINY_LLAMA, 11, False, {"rope base 10000": rope(1e4)},
        lengths=(1, 5, 12, 21), ablation_layers=(0, 1, 3)),
    "tiny-llama3": Variant(
        "llama", SMALL | SILU | rope(2e4, "llama3", **LLAMA3_ROPE)
        | dict(hidden_size=42, head_dim=16, tie_word_embeddings=True), 31, True,
        {"no scaling": rope(2e4),
         "all frequencies scaled": rope(2e4, "linear", factor=8.0),
         "original length 8192": rope(2e4, "llama3", **LLAMA3_ROPE
                                      | {"original_max_position_embeddings": 8192})}),
    "tiny-mistral": Variant(
        "mistral", SMALL | SILU | rope(1e4)
        | dict(hidden_size=40, head_dim=16, sliding_window=8, tie_word_embeddings=False),
        41, True, windows(), gguf_off="no window"),
    "tiny-qwen2": Variant(
        "qwen2", SMALL | SILU | rope(1e6) | dict(tie_word_embeddings=True), 52, False,
        {"no biases": no_biases,
         "window 8 in spite of use_sliding_window": dict(
             use_sliding_window=True, sliding_window=8, max_window_layers=0)}),
    "tiny-qwen3": Variant(
        "qwen3", SMALL | SILU | rope(1e6)
        | dict(hidden_size=40, head_dim=16, tie_word_embeddings=False), 61, False,
        {"no q/k norms": no_qk_norms,
         "window 8 in spite of use_sliding_window": dict(
             use_sliding_window=True, sliding_window=8, max_window_layers=0)}),
    "tiny-gemma": Variant(
        "gemma", SMALL | GELU | rope(1e4)
        | dict(hidden_size=40, head_dim=16, hidden_act="gelu_pytorch_tanh"), 75, True,
        {"gains without the 1": no_gain_offset, "exact GELU": exact_gelu,
         "SiLU": silu}, embed_std=0.2),
    "tiny-gemma2": Variant(
        "gemma2", SMALL | GELU | rope(1e4)
        | dict(hidden_size=42, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
               attn_logit_softcapping=2.0, final_logit_softcapping=3.0), 81, True,
        {"no attention cap": dict(attn_logit_softcapping=None),
         "no final cap": dict(final_logit_softcapping=None),
         "no post-norms": no_post_norms,
         "full layers first": dict(layer_types=[FULL, SLIDING, FULL])}
        | windows(dict(layer_types=[FULL] * 3)), embed_std=0.1),
    # The scale of Gemma 2 27B, hidden_size / heads, which llama.cpp knows by its 46 layers.
    "tiny-gemma2-scalar": Variant(
        "gemma2", SMALL | GELU | rope(1e4)
        | dict(hidden_size=42, head_dim=16, query_pre_attn_scalar=7, sliding_window=8,
               num_hidden_layers=2, attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
        91, True, {"scale of head_dim": dict(query_pre_attn_scalar=16)},
        embed_std=0.1, ablation_layers=(0, 1), gguf=False),
    "tiny-gemma3": Variant(
        "gemma3_text", TINY_GEMMA3, 23, True,
        {"rope base 1e6 everywhere": two_ropes(PLAIN_FULL, PLAIN_FULL),
         "rope base 1e4 everywhere": two_ropes(PLAIN, PLAIN),
         "no full layers": dict(layer_types=[SLIDING] * 7)}
        | windows(dict(layer_types=[FULL] * 7, **two_ropes(PLAIN, PLAIN))),
        lengths=(1, 5, 12, 21), ablation_layers=(0, 3, 6)),
    "tiny-gemma3-linear": Variant(
        "gemma3_text", SMALL | GELU | two_ropes(LINEAR_FULL, PLAIN)
        | dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
               intermediate_size=40, num_hidden_layers=6, layer_types=SIX_LAYERS,
               query_pre_attn_scalar=16, sliding_window=8), 102, True,
        {"no scaling": two_ropes(PLAIN_FULL, PLAIN),
         "sliding layers scaled too": two_ropes(
             LINEAR_FULL, LINEAR_FULL | {"rope_theta": 1e4})}, lengths=(1, 20), embed_std=0.2),
    "tiny-olmo": Variant(
        "olmo", SMALL | rope(1e4) | dict(clip_qkv=1.2, tie_word_embeddings=True), 114, False,
        {"no clip": dict(clip_qkv=None), "not centred": not_centred,
         "rope base 5000": rope(5e3)}),
    "tiny-olmo2": Variant(
        "olmo2", SMALL | SILU | rope(5e5) | dict(tie_word_embeddings=False), 121, False,
        {"no q/k norms": no_qk_norms, "q/k norms per head": qk_norms_per_head,
         "no post-norms": no_post_norms}),
    "tiny-phi3": Variant(
        "phi3", SMALL | SILU | rope(1e4)
        | dict(sliding_window=8, original_max_position_embeddings=256,
               tie_word_embeddings=False), 131, False,
        windows() | {"up before gate": up_before_gate}, gguf_off="no window"),
    "tiny-phi3-longrope": Variant(
        "phi3", SMALL | SILU | rope(1e4, "longrope", **LONG_ROPE)
        | dict(max_position_embeddings=8192, original_max_position_embeddings=1024,
               sliding_window=None, tie_word_embeddings=True), 141, False,
        {"no scaling": rope(1e4, partial_rotary_factor=0.75),
         "long factors": rope(1e4, "longrope", **LONG_ROPE
                              | {"short_factor": LONG_ROPE["long_factor"]}),
         "no attention factor": rope(1e4, "longrope", attention_factor=1.0, **LONG_ROPE),
         "all dimensions rotate": rope(1e4, "longrope", **LONG_ROPE | {
             "partial_rotary_factor": 1.0, "short_factor": [1.1, 1.6, 3.0, 3.0],
             "long_factor": [1.5, 4.0, 12.0, 12.0]})}),
}
