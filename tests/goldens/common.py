"""What every part of `make.py` shares: determinism, versions, and how files are written."""

import json
import os
from importlib.metadata import PackageNotFoundError, version

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from safetensors.torch import save_file
from transformers import logging

logging.set_verbosity_error()
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def versions():
    names = ["torch", "transformers", "gguf", "numpy", "safetensors", "tokenizers", "xllamacpp"]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def versions_of_numbers():
    """The versions that the goldens depend on; the wheel of llama.cpp is only for checks."""
    return {k: v for k, v in versions().items() if k != "xllamacpp"}


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
