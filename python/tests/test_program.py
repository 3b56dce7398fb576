"""How the program is found, watched and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gatelens
from conftest import facts
from gatelens import _program


def test_what_the_program_says_is_shown(tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    gatelens.run("ablate", **{**tiny, "draws": 3})
    assert "warning: mine: 3 draws are few" in capsys.readouterr().err


def test_colours_that_a_notebook_asks_for_are_not_in_the_text(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLICOLOR_FORCE", "FORCE_COLOR"):
        monkeypatch.setenv(name, "1")
    result = gatelens.run("ablate", **tiny)
    assert result.folder is not None and "\x1b" not in result.printed
    with pytest.raises(gatelens.GatelensError, match="^unexpected argument '--drawz'"):
        gatelens.run("ablate", **tiny, drawz=3)


def test_the_program_is_that_of_the_environment() -> None:
    assert Path(_program.find()).parent == Path(sys.executable).parent
    called = subprocess.run([sys.executable, "-m", "gatelens", "--version"], capture_output=True, text=True, check=True)
    assert called.stdout.split() == ["gatelens", gatelens.__version__]


def test_elsewhere_it_is_looked_for_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(gatelens.GatelensError, match="was not found.* nor on PATH; install it with: pip install gatelens"):
        gatelens.run("models")
    if os.name == "nt":
        return
    other = tmp_path / "gatelens"
    other.write_text("#!/bin/sh\necho gatelens 0.0.1\n", encoding="utf-8")
    other.chmod(0o755)
    with pytest.warns(UserWarning, match=r"is gatelens 0\.0\.1, and this package is"):
        assert _program.find() == str(other)


def test_a_message_is_told_from_what_was_said_before() -> None:
    lines = ["warning: few draws\n", "error: no such file\n", "try another\n"]
    assert _program.message(lines, 1) == "no such file\ntry another"
    assert _program.message(["thread 'main' panicked\n"], 101) == "the program ended with exit code 101\nthread 'main' panicked"
    assert _program.message([], -9) == "the program was ended by signal 9 and said nothing"


SLOW = """
import sys, gatelens, gatelens._program
model, prompts, neurons, out, wait = sys.argv[1:]
gatelens._program.HEARS_WITHIN_S = float(wait)
gatelens.run("ablate", model=model, prompts=prompts, subset="all", neurons=neurons, draws=8, threads=1, out=out or None)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no interrupt for one process")
@pytest.mark.parametrize("to", ["python", "group"])
def test_an_interrupt_is_heard_once_and_the_run_goes_on_later(to: str, tiny: dict[str, Any], tmp_path: Path) -> None:
    prompts = facts(tmp_path / "many.jsonl", 2000)
    # Where nobody else tells the program, it is told before the small run is through.
    wait = "0.05" if to == "python" else "2.0"
    for attempt in range(12):
        out = tmp_path / f"run-{attempt}"
        words = [sys.executable, "-c", SLOW, str(tiny["model"]), str(prompts), str(tiny["neurons"]), str(out), wait]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as python:
            while not list(out.glob("parts/*.parquet")) and python.poll() is None:
                time.sleep(0.002)
            if to == "group":
                os.killpg(python.pid, signal.SIGINT)
            else:
                os.kill(python.pid, signal.SIGINT)
            _, said = python.communicate(timeout=60)
        if (out / "run.json").exists():
            continue  # it was faster
        assert "stopped after" in said and "KeyboardInterrupt" in said, said
        assert python.returncode == -signal.SIGINT
        with pytest.raises(gatelens.GatelensError, match="not finished"):
            gatelens.open(out)
        options = {**tiny, "prompts": prompts, "draws": 8, "threads": 1}
        resumed = gatelens.run("ablate", **options, out=out, resume=True)
        whole = gatelens.run("ablate", **options)
        assert resumed.outcomes.equals(whole.outcomes)
        return
    pytest.fail("nothing stopped the run between its passes")
