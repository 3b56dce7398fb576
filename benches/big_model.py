"""Writes a random bf16 checkpoint with the shapes of Llama 3.2 3B (6.4 GB) into a folder.

    python benches/big_model.py FOLDER [--layers 28]

Needs numpy. Tensors are made and written one block at a time, so memory stays below 1 GB. The
weights are normal with standard deviation 1/sqrt(inputs), the gains one: the model knows nothing,
but its numbers stay in range through all layers. The tokenizer is that of a tiny test model.
"""

import argparse
import json
import pathlib
import shutil
import struct

import numpy as np

D_MODEL, D_MLP, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 3072, 8192, 24, 8, 128, 128256
SEED = 0
BLOCK = 1 << 24  # values made at once
TOKENIZER = pathlib.Path(__file__).parent.parent / "tests/goldens/tiny-llama/tokenizer.json"


def config(layers):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCAB,
    }


def shapes(layers):
    """Names and shapes in the order of the file."""
    yield "model.embed_tokens.weight", (VOCAB, D_MODEL)
    for layer in range(layers):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", (D_MODEL,)
        yield name + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, D_MODEL)
        yield name + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, D_MODEL)
        yield name + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, D_MODEL)
        yield name + "self_attn.o_proj.weight", (D_MODEL, HEADS * HEAD_DIM)
        yield name + "post_attention_layernorm.weight", (D_MODEL,)
        yield name + "mlp.gate_proj.weight", (D_MLP, D_MODEL)
        yield name + "mlp.up_proj.weight", (D_MLP, D_MODEL)
        yield name + "mlp.down_proj.weight", (D_MODEL, D_MLP)
    yield "model.norm.weight", (D_MODEL,)


def bf16(values):
    """The nearest bf16 of each f32 (ties to even), as 16-bit words."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_tensor(file, shape, rng):
    if len(shape) == 1:
        file.write(bf16(np.ones(shape, np.float32)).tobytes())
        return
    left = int(np.prod(shape))
    while left > 0:
        values = rng.standard_normal(min(left, BLOCK), dtype=np.float32)
        values /= np.float32(np.sqrt(shape[1]))
        file.write(bf16(values).tobytes())
        left -= len(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=28)
    arguments = parser.parse_args()
    folder, layers = arguments.folder, arguments.layers
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(layers), indent=2))
    shutil.copy(TOKENIZER, folder / "tokenizer.json")

    header, end = {}, 0
    for name, shape in shapes(layers):
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    rng = np.random.default_rng(SEED)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _, shape in shapes(layers):
            write_tensor(file, shape, rng)
    print(f"{folder}: {layers} layers, {end / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
