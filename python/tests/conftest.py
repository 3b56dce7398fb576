"""A tiny model and what is asked of it. Tests run with the installed package: .ci/wheel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gatelens

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "goldens" / "tiny-llama"


def facts(path: Path, count: int) -> Path:
    lines = [
        {"id": str(i), "prompt": f"Number {i} of the long list is", "subject": "list", "target": "here"} for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """Options of a run that takes well below a second. The tiny model knows no facts and has no classes."""
    neurons = tmp_path / "mine.txt"
    neurons.write_text("0.3\n1.17\n1.40\n2.8\n3.61\n", encoding="utf-8")
    return {"model": TINY, "prompts": facts(tmp_path / "facts.jsonl", 12), "subset": "all", "neurons": neurons, "draws": 5}


@pytest.fixture
def result(tiny: dict[str, Any]) -> gatelens.Result:
    return gatelens.run("ablate", **tiny)
