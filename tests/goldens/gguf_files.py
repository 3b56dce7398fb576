"""Reading and writing GGUF."""

import json

import gguf
import numpy as np
import torch

from families import family_of, hf_to_gguf_names, rope_tensors

CONTROL, USER_DEFINED, BYTE = 3, 4, 6  # tokenizer.ggml.token_type


def permute(w, heads):
    """The row order llama.cpp's converter gives q and k of some architectures: within a head,
    the halves that rotate together are interleaved."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def permuted_heads(config, gguf_name):
    """The heads of a tensor whose rows are permuted in GGUF, or None."""
    if not family_of(config).permuted:
        return None
    if ".attn_q." in gguf_name:
        return config.num_attention_heads
    return config.num_key_value_heads if ".attn_k." in gguf_name else None


def weights_from_gguf(path, config):
    """The float32 weights of a GGUF file under transformers' names and conventions."""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    state = {}
    for name, gguf_name in hf_to_gguf_names(config).items():
        t = tensors.pop(gguf_name)
        w = np.array(gguf.dequantize(t.data, t.tensor_type), dtype=np.float32)
        if heads := permuted_heads(config, gguf_name):
            w = unpermute(w, heads)
        if "norm" in gguf_name:
            w = w - np.float32(family_of(config).gain_offset)
        state[name] = torch.from_numpy(np.ascontiguousarray(w))
    assert not tensors, f"unused tensors: {list(tensors)}"
    return state


def write_metadata(w, config, name):
    w.add_type("model")
    # At a name with "phi3" llama.cpp looks up special tokens that only the real models have.
    w.add_name(name.replace("phi3", "phi 3"))
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    for key in family_of(config).keys:
        key(w, config)


def write_vocabulary(w, config, tokenizer, add_bos):
    tokens = [tokenizer.id_to_token(i) for i in range(config.vocab_size)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([CONTROL if t in ("<s>", "</s>") else 1 for t in tokens])
    w.add_token_merges([" ".join(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]])
    w.add_bos_token_id(config.bos_token_id)
    w.add_eos_token_id(config.eos_token_id)
    w.add_add_bos_token(add_bos)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_gguf(path, model, tokenizer, add_bos):
    """Writes `model` in float32 as llama.cpp's converter would."""
    config = model.config
    w = gguf.GGUFWriter(path, family_of(config).arch)
    write_metadata(w, config, path.parent.name)
    write_vocabulary(w, config, tokenizer, add_bos)
    for name, t in rope_tensors(config).items():
        w.add_tensor(name, t)
    state = model.state_dict()
    for name, gguf_name in hf_to_gguf_names(config).items():
        t = state[name].numpy()
        if heads := permuted_heads(config, gguf_name):
            t = permute(t, heads)
        if "norm" in gguf_name:
            t = t + np.float32(family_of(config).gain_offset)
        w.add_tensor(gguf_name, np.ascontiguousarray(t))
    finish(w)


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
    finish(w)
