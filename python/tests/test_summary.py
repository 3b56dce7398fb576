"""What a result shows of a run that was not printed just now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gatelens
from gatelens import _summary
from test_schemas import attributes, by_paths, classify, on_text, patched, sweep, verify, without_draws


def recorded(tiny: dict[str, Any], path: Path) -> gatelens.Result:
    return gatelens.run("record", model=tiny["model"], prompts=tiny["prompts"])


@pytest.mark.parametrize(
    ("run", "rows"),
    [
        (patched, ["logit_diff, mean over 12 all prompts", "mine  "]),
        (by_paths, ["target_logprob", "mine   total ", "mine   indirect "]),
        (on_text, ["loss, mean over 6 documents", "mine "]),
        (without_draws, ["target_logprob", "mine "]),
        (sweep, ["target_logprob", "mine   0–1 ", "mine   2–3 "]),
        (attributes, ["attribute_excess, mean over 6 all prompts", "mine "]),
        (classify, ["orthogonal-output  "]),
        (verify, ["depletion-entropy ", "enrichment-recall      not testable "]),
        (recorded, ["frequency", "orthogonal-output "]),
    ],
)
def test_a_run_shows_its_main_table(
    run: Callable[[dict[str, Any], Path], gatelens.Result], rows: list[str], tiny: dict[str, Any], tmp_path: Path
) -> None:
    made = run(tiny, tmp_path)
    assert made.folder is not None
    result = gatelens.open(made.folder)
    lines = repr(result).split("\n")
    assert lines[0] == f"{result.run['command']} of {result.run['model']['id']} in {result.folder}"
    for row in rows:
        assert any(line.startswith(row) for line in lines[1:-1]), f"{row} in:\n{result}"
    assert lines[-1].startswith("has .")
    if "effects.json" in result.files:
        effect = next(effect for effect in result.json("effects") if effect["metric"] == lines[1].split(",")[0])
        assert f"{effect['means']['class']:.3f}" in repr(result)


def test_a_notebook_does_not_break_its_lines(result: gatelens.Result) -> None:
    shown = result._repr_html_()
    assert shown.startswith("<pre style=") and "[95 % interval]" in shown


def test_json_is_for_a_machine(tiny: dict[str, Any]) -> None:
    result = gatelens.run("ablate", **tiny, json=True)
    assert result.json()["effects"] and repr(result).startswith("ablate of ")


def test_a_file_that_was_changed_does_not_hide_the_run(tiny: dict[str, Any], tmp_path: Path) -> None:
    result = gatelens.run("ablate", **tiny, out=tmp_path / "run", json=True)
    (tmp_path / "run" / "effects.json").write_text("[]", encoding="utf-8")
    assert "effects.json is not what the run wrote" in repr(result)


def test_of_many_rows_those_that_differ_most_are_shown() -> None:
    ends = {"low": -1.0, "high": 1.0}
    entry = {"class": "mine", "metric": "kl", "subset": "all", "prompts": 3, "neurons": 1, "baseline_ci": ends, "p_adjusted": None}
    entry |= {"means": {"clean": 0.0, "class": 1.0, "baseline": None}, "permutation_p": 0.0001}
    entries = [{**entry, "layers": [i, i], "difference_to_baseline": None if i == 7 else -i / 10} for i in range(30)]
    lines = _summary.effects(entries).split("\n")
    assert lines[0] == "kl, mean over 3 all prompts; the 12 of 30 rows that differ most from their baseline"
    assert [line.split()[1] for line in lines[2:]] == [str(i) for i in range(29, 17, -1)]
    assert "<.001" in lines[2] and "[-1.000, +1.000]" in lines[2]
    assert _summary.effects([]) == "no class has neurons"


def test_the_curve_of_a_ranking() -> None:
    point = {"draw": 0, "effect": -0.5, "low": None, "high": None, "facts_lost": 0.5}
    shown = _summary.curve([{**point, "order": order, "neurons": 1024} for order in ("ranked", "random")])
    assert shown.split("\n")[2:] == ["  1,024  -0.500                        0.5"]
