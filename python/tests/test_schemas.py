"""The JSON files of a run are what docs/schema says, by a validator that knows nothing of the program."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

import gatelens
from conftest import ROOT, TINY

NAMES = ["claims", "classes", "effects", "run"]


def schema(name: str) -> Draft202012Validator:
    text = (ROOT / "docs" / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def problem(name: str, found: Any) -> str | None:
    """Where a file is not what its schema says."""
    error = best_match(schema(name).iter_errors(found))
    return None if error is None else f"{name}.json {error.json_path}: {error.message}"


def texts(path: Path, count: int) -> Path:
    lines = [f"Line {i} of a page is short, and {i * 7 % 11} words say little.\n" for i in range(count)]
    path.write_text("---\n".join(lines), encoding="utf-8")
    return path


def pairs(path: Path, count: int) -> Path:
    """Facts of two relations, each with its counterfactual."""

    def asked(i: int, subject: str, target: str) -> dict[str, str]:
        return {"prompt": f"Number {i} of the {subject} is", "subject": subject, "target": target}

    lines = [
        {"id": str(i), "relation": "ab"[i % 2], **asked(i, "list", "here"), "counterfactual": asked(i, "line", "there")}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def words(folder: Path) -> Path:
    """The tiny model with a vocabulary of whole words, some of which say something of a subject."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(TINY / name, folder)
    pieces = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    vocabulary = {"<unk>": 0, **{f"\u2581topic{i}": i for i in range(1, 300)}}
    tokenizer: dict[str, Any] = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    tokenizer |= {"pre_tokenizer": pieces, "post_processor": None, "decoder": pieces}
    tokenizer["model"] = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def subjects(path: Path, count: int) -> dict[str, Path]:
    """Prompts that end with their subjects, and a text about each."""
    names = [f"topic{i}" for i in range(1, count + 1)]
    about = [{"subject": name, "text": " ".join(f"topic{i}" for i in range(n, 300, 3))} for n, name in enumerate(names, 7)]
    asked = [{"id": name, "prompt": f"topic290 {name}", "subject": name, "target": "topic291"} for name in names]
    options = {}
    for option, lines in {"subjects": about, "prompts": asked}.items():
        options[option] = path / f"{option}.jsonl"
        options[option].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return options


def patched(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("ablate", **{**tiny, "prompts": pairs(path / "pairs.jsonl", 12)}, mode="patch")


def by_paths(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("ablate", **{**tiny, "prompts": pairs(path / "pairs.jsonl", 12)}, path="both", match="layer+effect")


def on_text(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    options = {name: tiny[name] for name in ("model", "neurons", "draws")}
    return gatelens.run("ablate", **options, text=texts(path / "texts.txt", 6), control="random-weights")


def without_draws(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("ablate", **{**tiny, "draws": 0})


def sweep(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("sweep", **tiny, window=2)


def attributes(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("attributes", **{**tiny, "model": words(path / "words"), **subjects(path, 6)})


def classify(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("classify", model=tiny["model"])


def verify(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    # A random model has no classes at the usual threshold.
    options = {name: tiny[name] for name in ("model", "prompts")}
    return gatelens.run("verify", **options, text=texts(path / "texts.txt", 12), quick=True, threshold=0.15)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (patched, "effects"),
        (by_paths, "effects"),
        (on_text, "effects"),
        (without_draws, "effects"),
        (sweep, "effects"),
        (attributes, "effects"),
        (classify, "classes"),
        (verify, "claims"),
    ],
)
def test_what_a_run_writes_is_what_the_schemas_say(
    run: Callable[[dict[str, Any], Path], gatelens.Result], name: str, tiny: dict[str, Any], tmp_path: Path
) -> None:
    result = run(tiny, tmp_path)
    assert result.json(name), "there is something to be held against the schema"
    assert problem(name, result.json(name)) is None
    assert problem("run", result.run) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_are_schemas(name: str) -> None:
    found = schema(name).schema
    Draft202012Validator.check_schema(found)
    assert found["title"] == f"{name}.json"


def test_what_no_run_writes_is_found(result: gatelens.Result) -> None:
    effects = result.json("effects")
    for place, value in [("prompts", "12"), ("prompts", -1), ("metric", "mood"), ("clean_ci", [0, 1]), ("colour", "red")]:
        assert problem("effects", [{**effects[0], place: value}]), f"{place}: {value}"
    del effects[0]["means"]
    assert problem("effects", effects)
    for place, value in [("wall_s", "1 s"), ("settings", None), ("model", {}), ("colour", "red")]:
        assert problem("run", {**result.run, place: value}), f"{place}: {value}"
