"""A run and what it wrote."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

from gatelens import _tables
from gatelens._arguments import flags, text
from gatelens._errors import GatelensError
from gatelens._page import Page
from gatelens._program import run_captured

TAKES_FOLDER = re.compile(r"^\s*--out <DIR>", re.MULTILINE)

# With these the folder is the user's to name: they are about what it holds already.
ABOUT_A_FOLDER = ("force", "resume", "shard")


class Result:
    """What a command printed, and the folder that it filled. `run` and `open` make it.

    Each file is compared with its sha256 in `run.json` when it is read.
    """

    def __init__(self, folder: Path | None, printed: str = "", tables: str | None = None) -> None:
        self.folder = folder
        """The run's folder; None for a command that writes none."""
        self.printed = printed
        """What the command printed for a person, or as JSON with `json=True`."""
        self._tables = tables

    @property
    def run(self) -> dict[str, Any]:
        """`run.json`: command, settings, version, hashes, seed, counts."""
        found = json.loads(self._there("run.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise GatelensError(f"{self.folder}/run.json is not an object, so gatelens did not write it")
        return found

    @property
    def files(self) -> list[str]:
        """The names of the files of the run, beside `run.json`."""
        return [str(output["name"]) for output in self.run.get("outputs", [])]

    @property
    def outcomes(self) -> Any:
        """`outcomes.parquet`, or with `text=` `outcomes_text.parquet`: a row per prompt (or position) and condition."""
        return self.table("outcomes_text" if "outcomes_text.parquet" in self.files else "outcomes")

    @property
    def effects(self) -> Any:
        """`effects.json`: a row per class, metric and way, with intervals and p."""
        return self.table("effects")

    @property
    def neurons(self) -> Any:
        """`neurons.parquet` of `classify`: a row per neuron, with its cosines and class."""
        return self.table("neurons")

    def table(self, name: str, tables: str | None = None) -> Any:
        """`NAME.parquet`, or a `NAME.json` that is a list, as a table of pandas, polars or pyarrow: of `tables`, else the
        first of the three that is installed."""
        stem = name.removesuffix(".parquet").removesuffix(".json")
        library = _tables.choose(tables or self._tables)
        if stem in self.files:
            raise GatelensError(f'{stem} is no table; .path("{stem}") is where it is')
        if f"{stem}.parquet" in self.files or f"{stem}.json" not in self.files:
            return _tables.from_parquet(self._checked(f"{stem}.parquet"), library)
        records = self._parsed(f"{stem}.json")
        if not isinstance(records, list):
            raise GatelensError(f'{stem}.json is no list, so it is no table; .json("{stem}") gives it as it is')
        return _tables.from_records(records, library)

    def json(self, name: str | None = None) -> Any:
        """`NAME.json` of the folder; without a name what the command printed, where it was called with `json=True`."""
        if name is not None:
            return self._parsed(name.removesuffix(".json") + ".json")
        try:
            return json.loads(self.printed)
        except json.JSONDecodeError:
            raise GatelensError("what the command printed is not JSON; call it with json=True, or name a file of the folder") from None

    def path(self, name: str) -> Path:
        """Where a file of the run is."""
        if name not in self.files:
            raise GatelensError(f"{self.folder} has no {name}; this run wrote {', '.join(self.files) or 'no files'}")
        return self._there(name)

    def report(self, height: int = 700) -> Page:
        """The page of `gatelens report`, which a notebook shows. The folder stays as it is."""
        folder = self._there("run.json").parent
        with tempfile.TemporaryDirectory(prefix="gatelens-") as temporary:
            page = Path(temporary) / "report.html"
            run_captured(["report", f"--out={page}", "--", str(folder)])
            return Page(page.read_text(encoding="utf-8"), height)

    def _there(self, name: str) -> Path:
        if self.folder is None:
            raise GatelensError("this command writes no folder; .printed is what it printed")
        path = self.folder / name
        if not path.is_file():
            raise GatelensError(f"{self.folder} has no {name}")
        return path

    def _checked(self, name: str) -> Path:
        path = self.path(name)
        written = next(output for output in self.run["outputs"] if output["name"] == name)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != written["sha256"]:
            raise GatelensError(f"{path} is not what the run wrote: its sha256 is not that of run.json. Make the run again")
        return path

    def _parsed(self, name: str) -> Any:
        return json.loads(self._checked(name).read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        if self.printed:
            return self.printed.rstrip("\n")
        return f"<gatelens.Result of {self.run.get('command')} in {self.folder}: {', '.join(self.files)}>"


def run(command: str, *arguments: object, tables: str | None = None, **options: object) -> Result:
    """Runs `gatelens COMMAND` and waits for it; what it says meanwhile is shown on `sys.stderr`.

    `arguments` are those without a flag (`run("inspect", "gemma3-270m")`), `options` those with one: `text_tokens=5` is
    `--text-tokens 5`, `json=True` is `--json`, None and False leave it out, a list gives several values, and `class_` is
    `--class`. Without `out` the files go to a temporary folder that is removed with the result. `tables` is the library of
    its tables: pandas, polars or pyarrow; without it, the first of them that is installed.

    Raises GatelensError with the program's own message where the program fails.
    """
    _tables.check(tables)
    words = [command, *flags(options), *(text("argument", argument) for argument in arguments)]
    out = options.get("out")
    if out is not None:
        return Result(Path(text("out", out)).expanduser(), run_captured(words), tables)
    if command == "merge" and len(arguments) == 1:
        return Result(Path(text("argument", arguments[0])), run_captured(words), tables)
    if any(options.get(name) for name in ABOUT_A_FOLDER) or not takes_folder(command):
        return Result(None, run_captured(words), tables)
    return run_in_temporary_folder(words, tables)


def open(folder: str | os.PathLike[str], tables: str | None = None) -> Result:
    """A run that was finished before, by its folder. `tables` as in `run`."""
    _tables.check(tables)
    path = Path(folder)
    if not path.is_dir():
        raise GatelensError(f"there is no folder {path}")
    if (path / "run.json").is_file():
        return Result(path, tables=tables)
    if (path / "plan.json").is_file():
        raise GatelensError(f"the run in {path} is not finished; go on with the same command and resume=True")
    raise GatelensError(f"{path} has no run.json, so it is not the folder of a finished run")


def takes_folder(command: str) -> bool:
    """Whether the command writes a folder. The program knows."""
    return command != "merge" and TAKES_FOLDER.search(run_captured([command, "--help"])) is not None


def run_in_temporary_folder(words: list[str], tables: str | None) -> Result:
    temporary = tempfile.mkdtemp(prefix="gatelens-")
    folder = Path(temporary) / words[0]
    try:
        result = Result(folder, run_captured([words[0], f"--out={folder}", *words[1:]]), tables)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            print("the folder was a temporary one and is removed; with out= a run that was stopped can go on", file=sys.stderr)
        raise
    weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result
