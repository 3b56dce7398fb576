"""Makes the golden numbers that gatelens's tests compare against.

    python make.py real --smollm2 PATH.gguf --gemma3 PATH.gguf --out tests/goldens
    python make.py tiny --out tests/goldens
    python make.py tokenizers --smollm2 PATH.gguf --gemma3 PATH.gguf --out tests/goldens
    python make.py check --smollm2 PATH.gguf --gemma3 PATH.gguf --out tests/goldens

The oracle for the numbers is transformers in float32 with eager attention on one CPU thread,
fed from an explicit config and from weights that `gguf.dequantize` turns into float32.
The oracle for the token ids is llama.cpp (the `xllamacpp` wheel), with transformers and with
`tokenizers` objects built by hand below as further opinions. `check` holds the goldens
against llama.cpp's own forward pass and transformers' own GGUF loader. README.md, next to
this file, says what every output holds.
"""

import argparse
import hashlib
import json
import os
import urllib.request
from collections import Counter
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import (AddedToken, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors)
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM,
                          logging)

logging.set_verbosity_error()
torch.set_num_threads(1)
torch.set_grad_enabled(False)

CONTROL, USER_DEFINED, BYTE = 3, 4, 6  # tokenizer.ggml.token_type
TOP = 16                               # how many of the most probable tokens are stored


def versions():
    names = ["torch", "transformers", "gguf", "numpy", "safetensors", "tokenizers", "xllamacpp"]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def write_tensors(path, tensors):
    """Saves `tensors`, with the versions as the only metadata key (so that bytes repeat)."""
    kept = ("torch", "transformers", "gguf", "numpy")
    made_with = "; ".join(f"{k} {v}" for k, v in versions().items() if k in kept)
    tensors = {k: torch.as_tensor(v).contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, path, metadata={"made_with": made_with})
    path.chmod(0o644)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


# --------------------------------------------------------------------------------------------
# Reading and writing GGUF


def permute(w, heads):
    """The row order llama.cpp's converter gives q and k of arch `llama`: within a head, the
    halves that rotate together are interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


LLAMA_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GEMMA3_NAMES = LLAMA_NAMES | {
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def hf_to_gguf_names(config):
    """{transformers name: GGUF name} of every tensor of the model."""
    per_layer = GEMMA3_NAMES if config.model_type == "gemma3_text" else LLAMA_NAMES
    names = {"model.embed_tokens.weight": "token_embd.weight",
             "model.norm.weight": "output_norm.weight"}
    if not config.tie_word_embeddings:
        names["lm_head.weight"] = "output.weight"
    for i in range(config.num_hidden_layers):
        for short, long in per_layer.items():
            names[f"model.layers.{i}.{long}.weight"] = f"blk.{i}.{short}.weight"
    return names


def weights_from_gguf(path, config):
    """The float32 weights of a GGUF file under transformers' names and conventions."""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    state = {}
    for name, gguf_name in hf_to_gguf_names(config).items():
        t = tensors.pop(gguf_name)
        w = np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32)
        if config.model_type == "llama" and ".attn_q." in gguf_name:
            w = unpermute(w, config.num_attention_heads)
        if config.model_type == "llama" and ".attn_k." in gguf_name:
            w = unpermute(w, config.num_key_value_heads)
        if config.model_type == "gemma3_text" and "norm" in gguf_name:
            w = w - np.float32(1)  # GGUF holds 1 + w, transformers adds the 1 itself
        state[name] = torch.from_numpy(np.ascontiguousarray(w))
    assert not tensors, f"unused tensors: {list(tensors)}"
    return state


def write_gguf(path, model, tokenizer, add_bos):
    """Writes `model` in float32 as llama.cpp's converter would."""
    config = model.config
    gemma = config.model_type == "gemma3_text"
    w = gguf.GGUFWriter(path, "gemma3" if gemma else "llama")
    w.add_type("model")
    w.add_name(path.parent.name)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(config.head_dim)
    w.add_value_length(config.head_dim)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    if gemma:
        w.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        w.add_sliding_window(config.sliding_window)
    else:
        w.add_rope_freq_base(config.rope_parameters["rope_theta"])
        w.add_rope_dimension_count(config.head_dim)
        w.add_vocab_size(config.vocab_size)

    tokens = [tokenizer.id_to_token(i) for i in range(config.vocab_size)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([CONTROL if t in ("<s>", "</s>") else 1 for t in tokens])
    w.add_token_merges([" ".join(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]])
    w.add_bos_token_id(config.bos_token_id)
    w.add_eos_token_id(config.eos_token_id)
    w.add_add_bos_token(add_bos)

    state = model.state_dict()
    for name, gguf_name in hf_to_gguf_names(config).items():
        t = state[name].numpy()
        if not gemma and ".attn_q." in gguf_name:
            t = permute(t, config.num_attention_heads)
        if not gemma and ".attn_k." in gguf_name:
            t = permute(t, config.num_key_value_heads)
        if gemma and "norm" in gguf_name:
            t = t + np.float32(1)
        w.add_tensor(gguf_name, np.ascontiguousarray(t))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def load_model(config, state):
    cls = Gemma3ForCausalLM if config.model_type == "gemma3_text" else LlamaForCausalLM
    config._attn_implementation = "eager"
    model = cls(config).eval().float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    assert config.tie_word_embeddings == (
        model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr())
    assert model.config._attn_implementation == "eager"
    return model


# --------------------------------------------------------------------------------------------
# Running a model and catching its insides


class Capture:
    """Forward hooks that keep every site of a run, named as in TransformerLens, and that can
    zero neurons (`hook_post`) at every position."""

    def __init__(self, model):
        self.model = model
        self.gemma = model.config.model_type == "gemma3_text"
        self.sites = {}
        self.ablated = {}  # layer -> neurons

    def keep(self, name, value):
        self.sites[name] = value[0].detach().clone()  # drops the batch of one

    @contextmanager
    def hooked(self):
        handles = []

        def on_input(module, name):
            handles.append(module.register_forward_pre_hook(
                lambda _, args: self.keep(name, args[0])))

        def on_output(module, name):
            handles.append(module.register_forward_hook(
                lambda _m, _a, out: self.keep(name, out[0] if isinstance(out, tuple) else out)))

        def ablate(layer):
            def hook(_, args):
                x = args[0].clone()
                x[..., self.ablated.get(layer, [])] = 0.0
                return (x,)
            return hook

        for i, block in enumerate(self.model.model.layers):
            b = f"blocks.{i}"
            mlp = block.mlp
            handles.append(mlp.down_proj.register_forward_pre_hook(ablate(i)))
            on_input(block, f"{b}.hook_resid_pre")
            on_output(block, f"{b}.hook_resid_post")
            on_output(mlp.gate_proj, f"{b}.mlp.hook_pre")
            on_output(mlp.up_proj, f"{b}.mlp.hook_pre_linear")
            on_input(mlp.down_proj, f"{b}.mlp.hook_post")
            if self.gemma:
                on_input(block.pre_feedforward_layernorm, f"{b}.hook_resid_mid")
                on_output(block.post_attention_layernorm, f"{b}.hook_attn_out")
                on_output(block.post_feedforward_layernorm, f"{b}.hook_mlp_out")
            else:
                on_input(block.post_attention_layernorm, f"{b}.hook_resid_mid")
                on_output(block.self_attn, f"{b}.hook_attn_out")
                on_output(mlp, f"{b}.hook_mlp_out")
        on_input(self.model.model.norm, "ln_final.input")
        try:
            yield
        finally:
            for h in handles:
                h.remove()

    def run(self, ids, positions, ablated=None):
        """Runs the prompt; returns log-probabilities [k, vocab] in float64."""
        self.sites = {}
        self.ablated = ablated or {}
        with self.hooked():
            hidden = self.model.model(torch.tensor([ids]), use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden[0, positions])
        for i in range(self.model.config.num_hidden_layers):
            s = {k: self.sites[f"blocks.{i}.hook_{k}"]
                 for k in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")}
            assert torch.equal(s["resid_pre"] + s["attn_out"], s["resid_mid"])
            assert torch.equal(s["resid_mid"] + s["mlp_out"], s["resid_post"])
        return torch.log_softmax(logits.double(), dim=-1)


SITES_RESID = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post"]
SITES_OUT = ["hook_attn_out", "hook_mlp_out"]
SITES_MLP = ["mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post"]


def top(logprobs):
    """The TOP most probable tokens; of equal ones the lower id first."""
    values, ids = torch.sort(logprobs, dim=-1, descending=True, stable=True)
    return ids[:, :TOP], values[:, :TOP].float()


def golden_tensors(model, prompts, positions_of, vocab_ids, neurons, resid_at, inside_at,
                   inside_layers):
    """Every golden tensor of one model.

    prompts       lists of token ids
    positions_of  length of a prompt -> the positions to store
    neurons       [n, 2] (layer, neuron) to zero together in the ablated runs
    resid_at      {prompt: positions} where the residual stream is stored (all layers)
    inside_at     prompts for which MLP and sublayer outputs are stored
    inside_layers layers for which they are
    """
    capture = Capture(model)
    ablated = {int(layer): neurons[neurons[:, 0] == layer, 1] for layer in set(neurons[:, 0])}
    eps = model.config.rms_norm_eps
    out = {"vocab_ids": torch.tensor(vocab_ids), "ablation.neurons": torch.from_numpy(neurons)}
    for p, ids in enumerate(prompts):
        positions = positions_of(len(ids))
        logprobs = capture.run(ids, positions)
        out[f"p{p}.ids"] = torch.tensor(ids)
        out[f"p{p}.positions"] = torch.tensor(positions)
        out[f"p{p}.logprobs"] = logprobs[:, vocab_ids].float()
        out[f"p{p}.top_ids"], out[f"p{p}.top_logprobs"] = top(logprobs)
        out[f"p{p}.entropy"] = -(logprobs.exp() * logprobs).sum(-1).float()
        x = capture.sites["ln_final.input"][positions]
        out[f"p{p}.ln_final.hook_scale"] = (x.pow(2).mean(-1) + eps).sqrt()
        for i in range(model.config.num_hidden_layers):
            b = f"blocks.{i}"
            if p in resid_at:
                for site in SITES_RESID:
                    out[f"p{p}.{b}.{site}"] = capture.sites[f"{b}.{site}"][resid_at[p]]
            if p in inside_at and i in inside_layers:
                for site in SITES_MLP + SITES_OUT:
                    out[f"p{p}.{b}.{site}"] = capture.sites[f"{b}.{site}"][positions]

        logprobs = capture.run(ids, positions, ablated)
        out[f"p{p}.ablated.logprobs"] = logprobs[:, vocab_ids].float()
        out[f"p{p}.ablated.top_ids"], out[f"p{p}.ablated.top_logprobs"] = top(logprobs)
    return out


def pick_neurons(layers, count, d_mlp):
    rng = np.random.default_rng(0)
    pairs = [(layer, n) for layer in layers
             for n in sorted(rng.choice(d_mlp, count, replace=False).tolist())]
    return np.array(pairs, dtype=np.int64)


# --------------------------------------------------------------------------------------------
# Classes of gated neurons, by the cosines between their three weight vectors

CLASSES = {  # (a(in_out), |a(gate_out)|, typical)
    (1, 1, True): "enrichment",
    (1, 1, False): "atypical-enrichment",
    (1, 0, True): "conditional-enrichment",
    (1, 0, False): "atypical-conditional-enrichment",
    (0, 1, True): "proportional-change",
    (0, 1, False): "atypical-proportional-change",
    (0, 0, True): "orthogonal-output",
    (-1, 1, True): "depletion",
    (-1, 1, False): "atypical-depletion",
    (-1, 0, True): "conditional-depletion",
    (-1, 0, False): "atypical-conditional-depletion",
}
THRESHOLD = 0.5


def cosines(model, layer, fold):
    """[d_mlp, 3] in float64: cos(w_gate, w_in), cos(w_gate, w_out), cos(w_in, w_out).

    fold "none": the raw weights; "pre": w_gate and w_in times the gain of the norm before the
    MLP; "pre+post": besides, w_out times the gain of the norm after the MLP (if there is one).
    """
    block = model.model.layers[layer]
    gate = block.mlp.gate_proj.weight.double()
    up = block.mlp.up_proj.weight.double()
    down = block.mlp.down_proj.weight.double().T
    gemma = model.config.model_type == "gemma3_text"
    if fold in ("pre", "pre+post"):
        if gemma:
            gain = 1.0 + block.pre_feedforward_layernorm.weight.double()
        else:
            gain = block.post_attention_layernorm.weight.double()
        gate, up = gate * gain, up * gain
    if fold == "pre+post" and gemma:
        down = down * (1.0 + block.post_feedforward_layernorm.weight.double())

    def cos(a, b):
        return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))

    return torch.stack([cos(gate, up), cos(gate, down), cos(up, down)], dim=1).numpy()


def classify(cos, threshold=THRESHOLD):
    """The class of one neuron from its three cosines."""
    gate_in, gate_out, in_out = (int(c > threshold) - int(c < -threshold) for c in cos)
    typical = (in_out == 0 and gate_out == 0) or gate_in == in_out * gate_out
    return CLASSES[(in_out, abs(gate_out), typical)]


def class_counts(model, fold):
    layers = [cosines(model, i, fold) for i in range(model.config.num_hidden_layers)]
    names = list(CLASSES.values())
    by_layer = []
    for layer in layers:
        found = [classify(c) for c in layer]
        by_layer.append([found.count(n) for n in names])
    total = np.sum(by_layer, axis=0).tolist()
    nearest = float(np.abs(np.abs(np.stack(layers)) - THRESHOLD).min())
    return {"total": dict(zip(names, total)), "by_layer": by_layer,
            "nearest_cosine_to_threshold": nearest}


# --------------------------------------------------------------------------------------------
# The tokenizers of the two real models, built by hand from the GGUF metadata


def gguf_field(path, key):
    return gguf.GGUFReader(path).fields[key].contents()


def smollm2_tokenizer(path):
    tokens = gguf_field(path, "tokenizer.ggml.tokens")
    types = gguf_field(path, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in gguf_field(path, "tokenizer.ggml.merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True)
                            for t, kind in zip(tokens, types) if kind == CONTROL])
    return tok


def merges_from_scores(tokens, types, scores):
    """The BPE merges of a SentencePiece vocabulary: every way to cut a piece in two known
    pieces, best score first; of one piece's cuts the longer left part first (the order of
    transformers' `generate_merges`). Runs of a user-defined piece come before all else."""
    kinds = {t: k for t, k in zip(tokens, types) if k not in (CONTROL, BYTE)}
    merges = []
    for piece, kind, score in zip(tokens, types, scores):
        if kind in (CONTROL, BYTE):
            continue
        rank = float("inf") if kind == USER_DEFINED else score
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in kinds and right in kinds:
                merges.append((rank, len(left), len(right), (left, right)))
    merges.sort(key=lambda m: m[:3], reverse=True)
    return [m[3] for m in merges]


def gemma3_tokenizer(path, spaces="added"):
    """`spaces`: what becomes of the 30 user-defined tokens that are runs of spaces.
    "added": added tokens that match runs of " " in the raw text, as llama.cpp does.
    "merged": pieces of "▁" that the highest merges build, as transformers does."""
    tokens = gguf_field(path, "tokenizer.ggml.tokens")
    types = gguf_field(path, "tokenizer.ggml.token_type")
    scores = gguf_field(path, "tokenizer.ggml.scores")
    if spaces == "merged":
        tokens = [t.replace(" ", "▁") for t in tokens]
    # In llama.cpp runs of spaces or newlines are matched before any merge: leave them no merges.
    kinds = [CONTROL if spaces == "added" and k == USER_DEFINED else k for k in types]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                               merges=merges_from_scores(tokens, kinds, scores),
                               unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                     decoders.Fuse()])
    tok.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)])
    for t, kind in zip(tokens, types):
        if kind == CONTROL:
            tok.add_special_tokens([AddedToken(t, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tok.add_tokens([AddedToken(t, normalized=False)])
    return tok


# --------------------------------------------------------------------------------------------
# real

LLAMA_SMOLLM2 = dict(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
    num_attention_heads=9, num_key_value_heads=3, head_dim=64, hidden_act="silu",
    max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    attention_bias=False, mlp_bias=False, bos_token_id=1, eos_token_id=2, pad_token_id=2)

GEMMA3_270M = dict(
    vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256,
    hidden_activation="gelu_pytorch_tanh", max_position_embeddings=32768, rms_norm_eps=1e-6,
    query_pre_attn_scalar=256, sliding_window=512,
    layer_types=["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(18)],
    rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e6},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
    tie_word_embeddings=True, attention_bias=False, attn_logit_softcapping=None,
    final_logit_softcapping=None, bos_token_id=2, eos_token_id=1, pad_token_id=0)

SHORT_PROMPTS = [
    "The capital of France is",
    "Water is made of hydrogen and",
    "The capital of Japan is Tokyo. The capital of France is",
]
# The prompts whose most probable next token must be " Paris". Gemma 3 270M (a base model)
# prefers " the" and " a" after the bare question; llama.cpp on the same file agrees.
PARIS = {"smollm2-135m": [0, 2], "gemma3-270m": [2]}
LONG_SENTENCES = [
    "On day {} the keeper wrote that the light above the harbour had burned all night.",
    "She counted {} boats, and the smallest of them carried salt, rope and a crate of lemons.",
    "By evening the wind turned; {} gulls sat on the wall and would not leave it.",
    "A letter came from Lisbon with {} stamps, though nobody in the village knew the sender.",
    "The baker asked for {} sacks of flour, because the feast was nearer than he had thought.",
    "It rained for {} hours, and the children drew ships on the windows.",
    "In the tower they found a map on which {} islands had been crossed out in red ink.",
]


def long_text(n_sentences=60):
    """The seven sentences over and over, with a number that changes."""
    return " ".join(LONG_SENTENCES[i % 7].format((i * 37) % 101 + 2) for i in range(n_sentences))


def check_rope(model):
    """Both rope bases must have reached the rotary module."""
    rotary, config = model.model.rotary_emb, model.config
    bases = ({"full_attention": 1e6, "sliding_attention": 1e4}
             if config.model_type == "gemma3_text" else {None: config.rope_parameters["rope_theta"]})
    for kind, base in bases.items():
        inv_freq = rotary.inv_freq if kind is None else getattr(rotary, f"{kind}_inv_freq")
        d = config.head_dim
        want = torch.tensor([base ** (-2 * i / d) for i in range(d // 2)])
        torch.testing.assert_close(inv_freq, want, rtol=1e-5, atol=0)


def make_real(alias, path, config, tokenizer, bos, long_length, stride, inside_layers,
              ablation_layers, out_dir):
    state = weights_from_gguf(path, config)
    model = load_model(config, state)
    check_rope(model)

    def encode(text):
        return bos + tokenizer.encode(text, add_special_tokens=False).ids

    single = "" if bos else "Once"  # a model with a BOS gets the BOS alone
    texts = SHORT_PROMPTS + [single, long_text()]
    prompts = [encode(t) for t in texts]
    assert len(prompts[3]) == 1 and len(prompts[4]) >= long_length
    prompts[4] = prompts[4][:long_length]
    texts[4] = tokenizer.decode(prompts[4])
    assert encode(texts[4]) == prompts[4]

    tensors = golden_tensors(
        model, prompts, lambda n: sorted({0, n // 2, n - 1}),
        vocab_ids=list(range(0, config.vocab_size, stride)),
        neurons=pick_neurons(ablation_layers, 40, config.intermediate_size),
        resid_at={0: sorted({0, len(prompts[0]) // 2, len(prompts[0]) - 1}),
                  4: [long_length - 1]},
        inside_at=[0, 4], inside_layers=inside_layers)
    for i in inside_layers:
        tensors[f"blocks.{i}.cos"] = torch.from_numpy(cosines(model, i, "pre")).float()
    write_tensors(out_dir / f"{alias}.safetensors", tensors)

    def top_tokens(p):
        return [tokenizer.decode([int(i)]) for i in tensors[f"p{p}.top_ids"][-1, :5]]

    for p in PARIS[alias]:
        assert top_tokens(p)[0] == " Paris", top_tokens(p)
    write_json(out_dir / f"{alias}.json", {
        "alias": alias,
        "versions": {k: v for k, v in versions().items() if k != "xllamacpp"},
        "model_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "bos": bos,
        "prompts": [{"text": t, "n_tokens": len(ids), "top_next_tokens": top_tokens(p)}
                    for p, (t, ids) in enumerate(zip(texts, prompts))],
        "inside_layers": inside_layers,
        "ablation_layers": ablation_layers,
        "class_threshold": THRESHOLD,
        "class_names": list(CLASSES.values()),
        "classes": {fold: class_counts(model, fold) for fold in ("pre", "none", "pre+post")},
    })


def real(args):
    make_real("smollm2-135m", args.smollm2, LlamaConfig(**LLAMA_SMOLLM2),
              smollm2_tokenizer(args.smollm2), bos=[], long_length=200, stride=61,
              inside_layers=[0, 15, 29], ablation_layers=[2, 14, 27], out_dir=args.out)
    make_real("gemma3-270m", args.gemma3, Gemma3TextConfig(**GEMMA3_270M),
              gemma3_tokenizer(args.gemma3), bos=[2], long_length=600, stride=401,
              inside_layers=[0, 9, 17], ablation_layers=[1, 8, 16], out_dir=args.out)


# --------------------------------------------------------------------------------------------
# tiny

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
TINY_LENGTHS = [1, 5, 12, 21]

TINY_CORPUS = LONG_SENTENCES + SHORT_PROMPTS + [
    "The gate lets the value through, or it does not; the other reader scales it.",
    "Café, naïve, Grüße: 1 2 3, and then 4567 in the year 1987.",
]


def train_bpe(corpus, specials, vocab_size):
    """Byte-level BPE; the most frequent pair first, of equally frequent ones the smaller.
    (The trainer of `tokenizers` breaks ties differently from run to run.)"""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words = [list(w) for text in corpus for w, _ in split.pre_tokenize_str(text)]
    vocab = specials + sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = []
    while len(vocab) < vocab_size:
        counts = Counter(pair for w in words for pair in zip(w, w[1:]))
        left, right = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append((left, right))
        vocab.append(left + right)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == (left, right):
                    w[i:i + 2] = [left + right]
                i += 1
    return {t: i for i, t in enumerate(vocab)}, merges


def tiny_tokenizer(vocab_size, add_bos):
    vocab, merges = train_bpe(TINY_CORPUS, ["<s>", "</s>"], vocab_size)
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<s>", "</s>")])
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    assert tok.get_vocab_size() == vocab_size
    if add_bos:
        tok.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    return tok


def tiny_weights(config, seed):
    """Random weights with attention far from uniform and gains far from one."""
    rng = np.random.default_rng(seed)
    gemma = config.model_type == "gemma3_text"
    with torch.device("meta"):
        cls = Gemma3ForCausalLM if gemma else LlamaForCausalLM
        shapes = {k: tuple(v.shape) for k, v in cls(config).state_dict().items()}
    state = {}
    for name in hf_to_gguf_names(config):
        if "norm" in name:
            gain = rng.uniform(0.3, 2.5, shapes[name])
            w = gain - 1.0 if gemma else gain
        else:
            w = rng.normal(0.0, 0.4 if "embed" in name else 0.15, shapes[name])
        state[name] = torch.from_numpy(w.astype(np.float32))
    return state


def old_dialect(config_json):
    """The same config.json as transformers 4 wrote it."""
    c = dict(config_json)
    rope = c.pop("rope_parameters")
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.51.0"
    c["rope_scaling"] = None
    c.pop("_sliding_window_pattern", None)
    c.pop("use_bidirectional_attention", None)
    if c.pop("layer_types", None):
        c["rope_theta"] = rope["full_attention"]["rope_theta"]
        c["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        c["sliding_window_pattern"] = 6
    else:
        c["rope_theta"] = rope["rope_theta"]
    return dict(sorted(c.items()))


def make_tiny(alias, config, add_bos, seed, ablation_layers, out_dir):
    folder = out_dir / alias
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(config.vocab_size, add_bos)
    model = load_model(config, tiny_weights(config, seed))
    check_rope(model)

    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.gguf").unlink(missing_ok=True)
    write_gguf(folder / "model.gguf", model, tokenizer, add_bos)

    config_json = json.loads((folder / "config.json").read_text())
    old = old_dialect(config_json)
    (folder / "config.old.json").write_text(json.dumps(old, indent=2) + "\n")
    reread = type(config).from_dict(old)
    for key in ("rope_parameters", "layer_types", "head_dim", "sliding_window"):
        assert getattr(reread, key, None) == getattr(config, key, None), key
    for f in sorted(folder.iterdir()):
        print(f"{f}: {f.stat().st_size} bytes")

    rng = np.random.default_rng(seed + 1)
    prompts = [rng.integers(0, config.vocab_size, n).tolist() for n in TINY_LENGTHS]
    layers = list(range(config.num_hidden_layers))
    tensors = golden_tensors(
        model, prompts, lambda n: list(range(n)), vocab_ids=list(range(config.vocab_size)),
        neurons=pick_neurons(ablation_layers, 10, config.intermediate_size),
        resid_at={p: list(range(n)) for p, n in enumerate(TINY_LENGTHS)},
        inside_at=range(len(prompts)), inside_layers=layers)
    for i in layers:
        tensors[f"blocks.{i}.cos"] = torch.from_numpy(cosines(model, i, "pre")).float()
    write_tensors(out_dir / f"{alias}.safetensors", tensors)

    # How far from uniform attention is, in the last row of the longest prompt.
    patterns = model(torch.tensor([prompts[-1]]), output_attentions=True).attentions
    entropy = [-(a[0, :, -1] * a[0, :, -1].clamp_min(1e-30).log()).sum(-1).mean().item()
               for a in patterns]
    print(alias, "attention entropy by layer:", [round(e, 2) for e in entropy])


def tiny(args):
    make_tiny("tiny-llama", LlamaConfig(**TINY_LLAMA), add_bos=False, seed=11,
              ablation_layers=[0, 1, 3], out_dir=args.out)
    make_tiny("tiny-gemma3", Gemma3TextConfig(**TINY_GEMMA3), add_bos=True, seed=23,
              ablation_layers=[0, 3, 6], out_dir=args.out)
    write_json(args.out / "tiny.json", {"versions": {
        k: v for k, v in versions().items() if k != "xllamacpp"}})


# --------------------------------------------------------------------------------------------
# llama.cpp, through the HTTP server inside the xllamacpp wheel


class LlamaCpp:
    def __init__(self, path):
        import xllamacpp
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 1024
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
        params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(params)

    def post(self, route, body):
        request = urllib.request.Request(self.server.listening_address + route,
                                         json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def tokenize(self, text, special, parse):
        return self.post("/tokenize", {"content": text, "add_special": special,
                                       "parse_special": parse})["tokens"]

    def next_logprobs(self, ids, n):
        """{token: logprob} of the n most probable tokens after `ids`; None where the server
        tells nothing, as after a token that ends inside a UTF-8 character."""
        r = self.post("/completion", {"prompt": ids, "n_predict": 1, "n_probs": n,
                                      "temperature": 0.0, "cache_prompt": False})
        if "completion_probabilities" not in r:
            return None
        return {t["id"]: t["logprob"] for t in r["completion_probabilities"][0]["top_logprobs"]}


# --------------------------------------------------------------------------------------------
# tokenizers

STRINGS = [
    "",
    " ",
    "Hello, world!",
    "The capital of France is",
    " leading space",
    "trailing space ",
    "in 1987 12345",
    "3.14159, 1,000,000 and 2e-10; room 42b",
    "½ cup, x² + ٣٤ and Ⅷ",
    "SHOUTING in CamelCase and snake_case",
    "I'm sure they'll say it's what we'd've done; DON'T",
    "café naïve Grüße Ångström",
    "cafe\u0301 (with a combining accent)",
    "Привет, как дела?",
    "مرحبا بالعالم",
    "日本語のテキストと中文字符",
    "안녕하세요 세계",
    "नमस्ते दुनिया",
    "emoji 😀 family 👨‍👩‍👧 flag 🇫🇷 skin 👍🏽",
    "two  spaces   three    four",
    " " * 33 + "x",
    "line one\nline two\n\nparagraph\r\nwindows",
    "\n\n\n" + "\n" * 31,
    "\ttab\t\ttabs",
    " \n mixed \t\n ends with newline\n",
    "def f(x):\n    return x**2 + 1  # comment",
    "for (int i = 0; i < n; i++) { a[i] += b[i] * 0xFF; }",
    "https://example.com/a_b?q=1&r=%20#frag",
    "aaaaaaaaaaaaaaaaaaaaaaa hahahahaha ==========",
    "<|endoftext|>",
    "a<|im_start|>user\nhi<|im_end|> b",
    "<bos>",
    "<start_of_turn>user\nhi<end_of_turn>",
    "<table><tr>cell</tr></table>",
    "<0x0A> and <unused7>",
    "literal ▁▁ blocks",
    "zero\u200bwidth, nbsp\u00a0here, nul\u0000byte, \U00010348 \U000e0041",
]


WHY = {  # what is behind the differences that are known
    ("smollm2-135m", "½ cup, x² + ٣٤ and Ⅷ"):
        "transformers' GGUF loader leaves out the splitting of single digits (any \\p{N}) that "
        "the model's own tokenizer and llama.cpp's pre-tokenizer `smollm` do.",
    ("gemma3-270m", " " * 33 + "x"):
        "transformers' GGUF loader builds runs of spaces by low-ranking merges; the longest run "
        "first (31, then 2) is what llama.cpp and SentencePiece do.",
    ("gemma3-270m", "literal ▁▁ blocks"):
        "In the GGUF token 138 is two ASCII spaces, so literal U+2581 never match it; elsewhere "
        "it is two U+2581 and they do, before or after spaces have become U+2581.",
}


def note(alias, text, llama_cpp, others):
    """What to say of a string on which the oracles differ."""
    differing = {n: ids for n, ids in others.items() if ids != llama_cpp}
    said = "; ".join(f"{n} gives {ids}" for n, ids in differing.items())
    return f"ids are llama.cpp's; {said}. {WHY.get((alias, text), '')}".strip()


def tokenizers_(args):
    from transformers import AutoTokenizer
    result = {
        "versions": versions(),
        "fields": {
            "ids": "no BOS; the text of special tokens becomes those tokens",
            "ids_with_special": "as ids, with the BOS where the model adds one",
            "ids_special_as_text": "only where it differs from ids: special tokens' text is "
                                   "plain text (llama.cpp's parse_special=false)",
        },
        "models": {},
    }
    for alias, path, hand in (
            ("smollm2-135m", args.smollm2, {"by_hand": smollm2_tokenizer(args.smollm2)}),
            ("gemma3-270m", args.gemma3,
             {"by_hand": gemma3_tokenizer(args.gemma3),
              "by_hand_merged_spaces": gemma3_tokenizer(args.gemma3, "merged")})):
        server = LlamaCpp(path)
        hf = AutoTokenizer.from_pretrained(str(Path(path).parent), gguf_file=Path(path).name)
        rows = []
        for text in STRINGS:
            row = {"text": text, "ids": server.tokenize(text, False, True),
                   "ids_with_special": server.tokenize(text, True, True)}
            as_text = server.tokenize(text, False, False)
            if as_text != row["ids"]:
                row["ids_special_as_text"] = as_text
            others = {n: t.encode(text, add_special_tokens=False).ids for n, t in hand.items()}
            others["transformers"] = hf(text, add_special_tokens=False).input_ids
            with_special = {n: t.encode(text).ids for n, t in hand.items()}
            with_special["transformers"] = hf(text).input_ids
            for n, ids in with_special.items():
                assert ids == [2] * (alias[0] == "g") + others[n], (n, text)
            if any(ids != row["ids"] for ids in others.values()):
                row["note"] = note(alias, text, row["ids"], others)
                print(alias, repr(text), row["ids"], row["note"])
            rows.append(row)
        result["models"][alias] = rows
        del server
    write_json(args.out / "tokenizers.json", result)


# --------------------------------------------------------------------------------------------
# check


def resave_f32(path, out):
    """The same GGUF file with every tensor in float32: on quantized ones llama.cpp rounds the
    activations too, which would blur the comparison."""
    reader = gguf.GGUFReader(path)
    w = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            w.add_key_value(name, field.contents(), field.types[0],
                            field.types[-1] if len(field.types) > 1 else None)
    for t in reader.tensors:
        w.add_tensor(t.name, np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def check(args):
    """Holds the goldens against llama.cpp's forward pass and transformers' GGUF loader."""
    import tempfile
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    def against_llama_cpp(server, goldens, prompts):
        """The largest difference over the top 16 of every stored position, by prompt."""
        worst, compared = [], 0
        for p, ids in enumerate(prompts):
            differences = [0.0]
            for k, position in enumerate(goldens[f"p{p}.positions"].tolist()):
                got = server.next_logprobs(ids[:position + 1], 300)
                if got is None:
                    continue
                compared += 1
                differences += [abs(got.get(i, float("inf")) - lp) for i, lp in zip(
                    goldens[f"p{p}.top_ids"][k].tolist(),
                    goldens[f"p{p}.top_logprobs"][k].tolist())]
            worst.append(f"{max(differences):.1e}")
        return f"{worst} over {compared} positions"

    for alias, path in (("tiny-llama", args.out / "tiny-llama/model.gguf"),
                        ("tiny-gemma3", args.out / "tiny-gemma3/model.gguf"),
                        ("smollm2-135m", Path(args.smollm2)), ("gemma3-270m", Path(args.gemma3))):
        goldens = load_file(args.out / f"{alias}.safetensors")
        prompts = [goldens[f"p{p}.ids"].tolist() for p in range(5) if f"p{p}.ids" in goldens]

        with tempfile.TemporaryDirectory() as tmp:
            f32 = Path(tmp) / "f32.gguf"
            resave_f32(path, f32)
            for file in (f32, path):
                server = LlamaCpp(file)
                print(alias, "vs llama.cpp on", "float32:" if file == f32 else "the file itself:",
                      against_llama_cpp(server, goldens, prompts))
        if alias.startswith("tiny"):
            tok = Tokenizer.from_file(str(path.parent / "tokenizer.json"))
            differing = [t for t in STRINGS if tok.encode(t).ids != server.tokenize(t, True, True)]
            print(alias, "tokenizer.json vs llama.cpp on model.gguf, differing:", differing)
        del server

        try:
            # GGUF has no key for query_pre_attn_scalar, and the loader takes it to be 256.
            scalar = {"query_pre_attn_scalar": 16} if alias == "tiny-gemma3" else {}
            model = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, dtype=torch.float32,
                attn_implementation="eager", **scalar).eval()
            worst = []
            for p, ids in enumerate(prompts):
                at = goldens[f"p{p}.positions"]
                hidden = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state
                lp = torch.log_softmax(model.lm_head(hidden[0, at]).double(), -1)
                want = goldens[f"p{p}.logprobs"]
                worst.append((lp[:, goldens["vocab_ids"]] - want).abs().max().item())
            print(alias, "vs transformers' GGUF loader, max |logprob difference| by prompt:",
                  [f"{w:.1e}" for w in worst])
            del model
        except Exception as e:  # it needs `accelerate`, and knows few architectures
            print(alias, "transformers' GGUF loader failed:", type(e).__name__, str(e)[:300])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, run in (("real", real), ("tiny", tiny), ("tokenizers", tokenizers_),
                      ("check", check)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, required=True)
        if name != "tiny":
            command.add_argument("--smollm2", required=True)
            command.add_argument("--gemma3", required=True)
    args = parser.parse_args()
    print(json.dumps(versions()))
    args.run(args)


if __name__ == "__main__":
    main()
