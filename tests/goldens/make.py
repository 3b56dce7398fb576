"""Makes the golden numbers that gatelens's tests compare against.

    python make.py real --models ALIAS=PATH.gguf ... --out tests/goldens
    python make.py attributes --models smollm2-135m=PATH.gguf gemma3-270m=PATH.gguf --out tests/goldens
    python make.py add [--models ALIAS=PATH.gguf ...] --out tests/goldens
    python make.py tiny --out tests/goldens [--only tiny-llama3 ...]
    python make.py tokenizers --models ALIAS=PATH.gguf ... --out tests/goldens
    python make.py check [--models ALIAS=PATH.gguf ...] --out tests/goldens

The oracle for the numbers is transformers in float32 with eager attention on one CPU thread,
fed from an explicit config and from weights that `gguf.dequantize` turns into float32.
The oracle for the token ids is llama.cpp (the `xllamacpp` wheel), with transformers and with
`tokenizers` objects built by hand as further opinions. `check` holds the goldens against
llama.cpp's own forward pass and transformers' own GGUF loader. README.md, next to this file,
says what every output holds.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from common import versions, versions_of_numbers, write_json, write_tensors

import torch
from safetensors.torch import load_file
from transformers import Gemma3TextConfig, LlamaConfig, Qwen2Config

from attributes import write_attributes
from capture import golden_tensors, pick_neurons
from classes import CLASSES, THRESHOLD, class_counts, cosines
from direct import direct_tensors
from families import head_dim, load_model
from gguf_files import weights_from_gguf
from gradients import gradient_tensors
from tiny import config_of, tiny
from variants import VARIANTS
from vocabularies import SHORT_PROMPTS, TOKENIZERS, long_text

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


def qwen2(**sizes):
    """Qwen2.5-Coder. These files hold an output head of its own precision beside the embedding."""
    return Qwen2Config(
        vocab_size=151936, num_key_value_heads=2, hidden_act="silu",
        max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, use_sliding_window=False,
        bos_token_id=151643, eos_token_id=151645, **sizes)


@dataclass(frozen=True)
class Real:
    """A real model, and what is stored of it."""
    config: object
    bos: list
    long_length: int      # tokens of the long prompt
    stride: int           # of the stored vocabulary ids
    inside_layers: list   # whose MLPs, sublayer outputs and cosines are stored
    ablation_layers: list
    paris: list           # the prompts whose most probable next token must be " Paris"
    short: int = 3        # how many of SHORT_PROMPTS
    resid_every: int = 1  # residual streams are stored of every so many layers, and of the last


REAL = {
    "smollm2-135m": Real(LlamaConfig(**LLAMA_SMOLLM2), bos=[], long_length=200, stride=61,
                         inside_layers=[0, 15, 29], ablation_layers=[2, 14, 27], paris=[0, 2]),
    # A base model: after the bare question it prefers " the" and " a"; llama.cpp agrees.
    "gemma3-270m": Real(Gemma3TextConfig(**GEMMA3_270M), bos=[2], long_length=600, stride=401,
                        inside_layers=[0, 9, 17], ablation_layers=[1, 8, 16], paris=[2]),
    "qwen2.5-coder-0.5b": Real(
        qwen2(hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
              num_attention_heads=14),
        bos=[], long_length=200, stride=401, inside_layers=[3, 22], ablation_layers=[1, 11, 21],
        paris=[0, 2], resid_every=4),
    "qwen2.5-coder-1.5b": Real(
        qwen2(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
              num_attention_heads=12),
        bos=[], long_length=100, stride=401, inside_layers=[20], ablation_layers=[1, 13, 25],
        paris=[0], short=1, resid_every=4),
}


def check_rope(model):
    """Both rope bases must have reached the rotary module."""
    rotary, config = model.model.rotary_emb, model.config
    bases = ({"full_attention": 1e6, "sliding_attention": 1e4}
             if config.model_type == "gemma3_text" else {None: config.rope_parameters["rope_theta"]})
    for kind, base in bases.items():
        inv_freq = rotary.inv_freq if kind is None else getattr(rotary, f"{kind}_inv_freq")
        d = head_dim(config)
        want = torch.tensor([base ** (-2 * i / d) for i in range(d // 2)])
        torch.testing.assert_close(inv_freq, want, rtol=1e-5, atol=0)


def make_real(alias, path, out_dir):
    real = REAL[alias]
    config, tokenizer, bos = real.config, TOKENIZERS[alias](path), real.bos
    model = load_model(config, weights_from_gguf(path, config))
    check_rope(model)

    def encode(text):
        return bos + tokenizer.encode(text, add_special_tokens=False).ids

    single = "" if bos else "Once"  # a model with a BOS gets the BOS alone
    texts = SHORT_PROMPTS[:real.short] + [single, long_text()]
    prompts = [encode(t) for t in texts]
    last = len(prompts) - 1
    assert len(prompts[-2]) == 1 and len(prompts[last]) >= real.long_length
    prompts[last] = prompts[last][:real.long_length]
    texts[last] = tokenizer.decode(prompts[last])
    assert encode(texts[last]) == prompts[last]

    n_layers = config.num_hidden_layers
    tensors = golden_tensors(
        model, prompts, lambda n: sorted({0, n // 2, n - 1}),
        vocab_ids=list(range(0, config.vocab_size, real.stride)),
        neurons=pick_neurons(real.ablation_layers, 40, config.intermediate_size),
        resid_at={0: sorted({0, len(prompts[0]) // 2, len(prompts[0]) - 1}),
                  last: [real.long_length - 1]},
        resid_layers=[*range(0, n_layers - 1, real.resid_every), n_layers - 1],
        inside_at=[0, last], inside_layers=real.inside_layers, edits=True)
    for i in real.inside_layers:
        tensors[f"blocks.{i}.cos"] = torch.from_numpy(cosines(model, i, "pre")).float()
    tensors |= direct_tensors(model, tensors) | gradient_tensors(model, tensors)
    write_tensors(out_dir / f"{alias}.safetensors", tensors)

    def top_tokens(p):
        return [tokenizer.decode([int(i)]) for i in tensors[f"p{p}.top_ids"][-1, :5]]

    for p in real.paris:
        assert top_tokens(p)[0] == " Paris", top_tokens(p)
    write_json(out_dir / f"{alias}.json", {
        "alias": alias,
        "versions": versions_of_numbers(),
        "model_sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "bos": bos,
        "prompts": [{"text": t, "n_tokens": len(ids), "top_next_tokens": top_tokens(p)}
                    for p, (t, ids) in enumerate(zip(texts, prompts))],
        "inside_layers": real.inside_layers,
        "ablation_layers": real.ablation_layers,
        "class_threshold": THRESHOLD,
        "class_names": list(CLASSES.values()),
        "classes": {fold: class_counts(model, fold) for fold in ("pre", "none", "pre+post")},
    })


def real(args):
    for alias, path in args.models.items():
        make_real(alias, path, args.out)


def attributes(args):
    """The attribute rates of two real models."""
    models = {}
    for alias, layers in (("smollm2-135m", [1, 12]), ("gemma3-270m", [1, 8])):
        path, real = args.models[alias], REAL[alias]
        model = load_model(real.config, weights_from_gguf(path, real.config))
        models[alias] = (model, TOKENIZERS[alias](path), real.bos, layers)
    write_attributes(models, args.out)


def add(args):
    """Adds direct effects and gradients to goldens that are there: of the real models given, and of all tiny ones."""
    models = {alias: lambda path=path, alias=alias: load_model(
        REAL[alias].config, weights_from_gguf(path, REAL[alias].config))
        for alias, path in args.models.items()}
    for alias in VARIANTS:
        models[alias] = lambda alias=alias: load_model(
            config_of(VARIANTS[alias]), load_file(args.out / alias / "model.safetensors"))
    for alias, load in models.items():
        golden = args.out / f"{alias}.safetensors"
        tensors = load_file(golden)
        model = load()
        tensors |= direct_tensors(model, tensors) | gradient_tensors(model, tensors)
        write_tensors(golden, tensors)


def tokenizers(args):
    from oracle import write_tokenizers  # needs xllamacpp
    write_tokenizers(args.models, args.out)


def check(args):
    from oracle import check_goldens  # needs xllamacpp
    check_goldens(args.models, args.only, args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, run in (("real", real), ("attributes", attributes), ("add", add),
                      ("tiny", tiny), ("tokenizers", tokenizers), ("check", check)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--out", type=Path, required=True)
        if name in ("tiny", "check"):
            command.add_argument("--only", nargs="+", help="these tiny models alone")
        if name != "tiny":
            command.add_argument("--models", nargs="+", required=name not in ("check", "add"), default=[],
                                 metavar="ALIAS=PATH")
    args = parser.parse_args()
    args.models = dict(pair.split("=", 1) for pair in getattr(args, "models", []))
    print(json.dumps(versions()))
    args.run(args)


if __name__ == "__main__":
    main()
