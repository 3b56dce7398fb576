"""Python's arguments as the program's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gatelens
from gatelens._arguments import flags


def test_each_kind_of_value() -> None:
    options = {
        "text_tokens": 5,
        "json": True,
        "resume": False,
        "layers": None,
        "classes": ["depletion", "enrichment"],
        "text": (Path("a.txt"), "b.txt"),
        "threshold": 0.25,
        "class_": "depletion",
    }
    assert flags(options) == [
        "--text-tokens=5",
        "--json",
        "--classes=depletion",
        "--classes=enrichment",
        "--text=a.txt",
        "--text=b.txt",
        "--threshold=0.25",
        "--class=depletion",
    ]


def test_what_has_no_word_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="classes is an empty list"):
        flags({"classes": []})
    for value in ({"a": 1}, {"a"}, object(), [True], [["a"]]):
        with pytest.raises(TypeError, match="seed is a "):
            flags({"seed": value})


def test_an_option_that_the_program_does_not_have_is_its_error(tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(gatelens.GatelensError, match="unexpected argument '--drawz'"):
        gatelens.run("ablate", **tiny, drawz=3)
    assert "drawz" not in capsys.readouterr().err, "an error is raised, not shown twice"


def test_a_command_that_the_program_does_not_have_is_its_error() -> None:
    with pytest.raises(gatelens.GatelensError, match="unrecognized subcommand 'ablat'"):
        gatelens.run("ablat")


@pytest.mark.parametrize("option", ["resume", "force"])
def test_what_a_folder_holds_is_asked_of_a_folder_with_a_name(option: str, tiny: dict[str, Any]) -> None:
    with pytest.raises(gatelens.GatelensError, match="--out"):
        gatelens.run("ablate", **{**tiny, option: True})


def test_every_option_that_takes_several_values_takes_its_flag_several_times(tmp_path: Path, tiny: dict[str, Any]) -> None:
    texts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for text in texts:
        text.write_text(f"A line of {text.stem} that says little.\n", encoding="utf-8")
    result = gatelens.run(
        "record", model=tiny["model"], text=texts, dense=True, sites=["hook_resid_mid", "hook_resid_post"], classes=None
    )
    assert len(result.run["texts"]) == 2
    assert result.path("activations.safetensors").stat().st_size > 0
    with pytest.raises(gatelens.GatelensError, match="no neuron is"):
        gatelens.run("ablate", model=tiny["model"], subset="all", classes=["enrichment", "depletion"])
    with pytest.raises(gatelens.GatelensError, match="nonsense"):
        gatelens.run("verify", model=tiny["model"], claims=["frequency-depletion", "nonsense"])
