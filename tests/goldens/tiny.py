"""`make.py tiny`: writes the random checkpoints of `variants.py` and their goldens."""

import copy
import json

import numpy as np
import torch

from capture import Capture, all_logprobs, golden_tensors, greedy, pick_neurons
from classes import cosines
from common import versions_of_numbers, write_json, write_tensors
from direct import direct_tensors
from families import FAMILIES, family_of, hf_to_gguf_names, load_model
from gguf_files import write_gguf
from gradients import gradient_tensors
from variants import VARIANTS
from vocabularies import tiny_tokenizer

# The least change of a log-probability that a feature must make. The two forms of GELU differ by
# at most 5e-4: there, ten times the tests' tolerance.
TELLS_APART = 0.01
FAINT = {"exact GELU": 0.002}


def config_of(variant, changes=None):
    # A model's constructor may write into the config's dictionaries.
    kwargs = copy.deepcopy(variant.config | (changes or {}))
    return FAMILIES[variant.family].config(**kwargs)


def tiny_weights(config, seed, embed_std):
    """Random weights with attention far from uniform, gains far from one, biases from zero."""
    rng = np.random.default_rng(seed)
    family = family_of(config)
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in family.model(config).state_dict().items()}
    state = {}
    for name in hf_to_gguf_names(config):
        if "norm" in name:
            w = rng.uniform(0.3, 2.5, shapes[name]) - family.gain_offset
        elif name.endswith("bias"):
            w = rng.normal(0.0, 1.0, shapes[name])
        else:
            w = rng.normal(0.0, embed_std if "embed" in name else 0.15, shapes[name])
        state[name] = torch.from_numpy(w.astype(np.float32))
    return state


OLD_EXTRAS = {  # what transformers 4, or the published files, had besides
    "qwen2": dict(sliding_window=8, use_sliding_window=False, max_window_layers=1),
    "qwen3": dict(sliding_window=8, use_sliding_window=False, max_window_layers=1),
    "gemma": dict(hidden_act="gelu", hidden_activation=None),  # and yet it means tanh
    "gemma2": dict(cache_implementation="hybrid"),
}


def old_scaling(rope, model_type):
    """`rope_scaling` of transformers 4, and what it kept outside."""
    outside = {"rope_theta": rope.pop("rope_theta")}
    if "partial_rotary_factor" in rope:
        outside["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope["rope_type"] == "default":
        return outside | {"rope_scaling": None}
    if model_type == "phi3":
        del rope["original_max_position_embeddings"]  # at the top level, too
        rope["type"] = rope.pop("rope_type")
    return outside | {"rope_scaling": rope}


def old_dialect(config_json):
    """The same config.json as transformers 4 wrote it."""
    c = copy.deepcopy(config_json)
    rope = c.pop("rope_parameters")
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.51.0"
    for key in ("_sliding_window_pattern", "use_bidirectional_attention", "layer_types"):
        c.pop(key, None)
    if "sliding_attention" in rope:
        c["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        c["sliding_window_pattern"] = 6
        rope = rope["full_attention"]
    c |= old_scaling(rope, c["model_type"]) | OLD_EXTRAS.get(c["model_type"], {})
    return dict(sorted(c.items()))


def write_old_config(folder, model, state, ids):
    """Writes `config.old.json`, which transformers must read as the same model."""
    old = old_dialect(json.loads((folder / "config.json").read_text()))
    (folder / "config.old.json").write_text(json.dumps(old, indent=2) + "\n")
    reread = load_model(type(model.config).from_dict(copy.deepcopy(old)), state)
    for key in ("layer_types", "head_dim", "sliding_window"):
        assert getattr(reread.config, key, None) == getattr(model.config, key, None), key
    assert torch.equal(all_logprobs(reread, ids), all_logprobs(model, ids))


def write_checkpoint(folder, model, tokenizer, variant):
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.gguf").unlink(missing_ok=True)
    if variant.gguf:
        write_gguf(folder / "model.gguf", model, tokenizer, variant.add_bos)


def done_wrong(variant, state, change):
    """The model without its peculiarity."""
    if isinstance(change, dict):
        return load_model(config_of(variant, change), state)
    model = load_model(config_of(variant), {k: v.clone() for k, v in state.items()})
    change(model)
    return model


def effects(variant, model, state, prompts):
    """{what is done wrong: the largest change of a log-probability over all prompts}"""
    found = {}
    for label, change in variant.off.items():
        wrong = done_wrong(variant, state, change)
        found[label] = max((all_logprobs(wrong, ids) - all_logprobs(model, ids)).abs().max().item()
                           for ids in prompts)
        assert found[label] > FAINT.get(label, TELLS_APART), (label, found[label])
    return found


def attention_entropies(model, ids):
    """How far from uniform attention is, in the last row, by layer."""
    patterns = model(torch.tensor([ids]), output_attentions=True).attentions
    return [round(-(a[0, :, -1] * a[0, :, -1].clamp_min(1e-30).log()).sum(-1).mean().item(), 2)
            for a in patterns]


def tiny_goldens(variant, model, state, prompts):
    config = model.config
    layers = list(range(config.num_hidden_layers))
    tensors = golden_tensors(
        model, prompts, lambda n: list(range(n)), vocab_ids=list(range(config.vocab_size)),
        neurons=pick_neurons(variant.ablation_layers, 10, config.intermediate_size),
        resid_at={p: list(range(len(ids))) for p, ids in enumerate(prompts)},
        inside_at=range(len(prompts)), inside_layers=layers)
    for i in layers:
        tensors[f"blocks.{i}.cos"] = torch.from_numpy(cosines(model, i, "pre")).float()
    for p, ids in enumerate(prompts):
        tensors[f"p{p}.greedy"] = torch.tensor(greedy(model, ids))
        own_head = all_logprobs(model, ids).float()
        torch.testing.assert_close(tensors[f"p{p}.logprobs"], own_head, rtol=0, atol=1e-5)
    if variant.gguf_off:
        wrong = done_wrong(variant, state, variant.off[variant.gguf_off])
        last = len(prompts) - 1
        tensors[f"p{last}.gguf.logprobs"] = all_logprobs(wrong, prompts[last]).float()
    return tensors | direct_tensors(model, tensors) | gradient_tensors(model, tensors)


def make_tiny(alias, variant, out_dir):
    config = config_of(variant)
    state = tiny_weights(config, variant.seed, variant.embed_std)
    model = load_model(config, state)
    rng = np.random.default_rng(variant.seed + 1)
    prompts = [rng.integers(0, config.vocab_size, n).tolist() for n in variant.lengths]

    found = effects(variant, model, state, prompts)
    print(alias, "attention entropy by layer:", attention_entropies(model, prompts[-1]))
    print(alias, "done wrong:", {k: f"{v:.3g}" for k, v in found.items()})

    folder = out_dir / alias
    write_checkpoint(folder, model, tiny_tokenizer(config.vocab_size, variant.add_bos), variant)
    write_old_config(folder, model, state, prompts[-1])
    for f in sorted(folder.iterdir()):
        print(f"{f}: {f.stat().st_size} bytes")
    write_tensors(out_dir / f"{alias}.safetensors", tiny_goldens(variant, model, state, prompts))
    return {k: float(f"{v:.3g}") for k, v in found.items()}


def tiny(args):
    unknown = set(args.only or ()) - set(VARIANTS)
    assert not unknown, f"{unknown}: not among {list(VARIANTS)}"
    path = args.out / "tiny.json"
    known = json.loads(path.read_text()).get("done_wrong", {}) if path.exists() else {}
    for alias, variant in VARIANTS.items():
        if not args.only or alias in args.only:
            known[alias] = make_tiny(alias, variant, args.out)
    write_json(path, {"versions": versions_of_numbers(),
                      "done_wrong": {alias: known[alias] for alias in VARIANTS if alias in known}})
