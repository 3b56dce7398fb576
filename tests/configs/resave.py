"""Writes NAME.v5.json: the facts of NAME.json as transformers 5 saves them again. Prints parameter counts.

    pip install torch==2.15.0 transformers==5.23.0
    python tests/configs/resave.py
"""

import json
import re
import tempfile
import textwrap
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
# Neither shapes nor arithmetic.
LEFT_OUT = {"attention_dropout", "bos_token_id", "dtype", "embd_pdrop", "eos_token_id", "initializer_range",
            "pad_token_id", "resid_pdrop", "transformers_version", "use_cache"}


def load(path: Path):
    facts = json.loads(path.read_text())
    return AutoConfig.for_model(facts.pop("model_type"), **facts)


def saved(config) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        facts = json.loads(Path(folder, "config.json").read_text())
    return {key: value for key, value in facts.items() if key not in LEFT_OUT}


def counts(config) -> tuple[int, int]:
    """All parameters, a tied head once; and those of matrices alone."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.dim() > 1)


def text_of(facts: dict) -> str:
    """JSON with the entries of a list side by side."""

    def packed(match: re.Match) -> str:
        line = match.string.rindex("\n", 0, match.start()) + 1
        indent = re.match(r" *", match.string[line:]).group()
        items = " ".join(match.group(1).split())
        if len(items) < 80:
            return f"[{items}]"
        rows = textwrap.wrap(items, 100, initial_indent=indent + "  ", subsequent_indent=indent + "  ")
        return "[\n" + "\n".join(rows) + f"\n{indent}]"

    return re.sub(r"\[([^\[\]{}]*)\]", packed, json.dumps(facts, indent=2, sort_keys=True)) + "\n"


if __name__ == "__main__":
    assert transformers.__version__.startswith("5."), transformers.__version__
    for path in sorted(HERE.glob("*.json")):
        if path.name.endswith(".v5.json") or path.name == "google--gemma-3-4b-pt.json":
            continue  # the latter is of text and images; its text part has a file of its own
        config = load(path)
        path.with_name(f"{path.name.removesuffix('.json')}.v5.json").write_text(text_of(saved(config)))
        every, matrices = counts(config)
        print(f"{path.name:45} {every:>14,} {matrices:>14,}")
