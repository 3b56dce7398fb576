"""A run and what it wrote."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

from gatelens import _summary, _tables
from gatelens._arguments import flags, text
from gatelens._errors import GatelensError
from gatelens._page import Page
from gatelens._program import run_captured

TAKES_FOLDER = re.compile(r"^\s*--out <DIR>", re.MULTILINE)

# With these the folder is the user's to name: they are about what it holds already.
ABOUT_A_FOLDER = ("force", "resume", "shard")

# With these the command does something else, and fills no folder.
WITHOUT_A_FOLDER = ("dry_run", "help")

# What reads a file, where that is neither `.table(NAME)`, `.json(NAME)` nor `.path(NAME)` by its ending.
READ_BY = {
    "outcomes.parquet": ".outcomes",
    "outcomes_text.parquet": ".outcomes",
    "effects.json": ".effects",
    "neurons.parquet": ".neurons",
    "claims.json": ".claims",
    "curve.json": '.table("curve")',
    "class_activity.json": '.table("class_activity")',
}


class Result:
    """What a command printed, and the folder that it filled. `run` and `open` make it.

    Each file is compared with its sha256 in `run.json` when it is read.
    """

    def __init__(self, folder: Path | None, printed: str = "", tables: str | None = None, shown: bool = True) -> None:
        self.folder = folder
        """The run's folder; None for a command that writes none."""
        self.printed = printed
        """What the command printed for a person, or as JSON with `json=True`."""
        self._tables = tables
        self._shown = shown  # whether what was printed is for a person

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

    @property
    def claims(self) -> Any:
        """`claims.json` of `verify`: a row per test, with its verdict."""
        return self.table("claims")

    def table(self, name: str, tables: str | None = None) -> Any:
        """`NAME.parquet`, or a `NAME.json` that is a list, or holds one of its own name, as a table of pandas, polars or
        pyarrow: of `tables`, else the first of the three that is installed."""
        library = tables or self._tables
        _tables.check(library)
        stem = name.removesuffix(".parquet").removesuffix(".json")
        if stem in self.files:
            raise GatelensError(f'{stem} is no table; .path("{stem}") is where it is')
        if f"{stem}.parquet" in self.files:
            return _tables.from_parquet(self._checked(f"{stem}.parquet"), library)
        if f"{stem}.json" not in self.files:
            raise GatelensError(f"{self.folder} has no {stem}: this run of {self.run['command']} has {self._reads()}")
        records = self._parsed(f"{stem}.json")
        if isinstance(records, dict):
            records = records.get(stem)
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
            raise GatelensError("this call writes no folder; .printed is what it printed")
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

    def _reads(self) -> str:
        """What reads the run's files."""
        reads, others = [], []
        for name in self.files:
            stem, _, ending = name.rpartition(".")
            if name in READ_BY:
                reads.append(READ_BY[name])
            elif ending == "parquet":
                reads.append(f'.table("{stem}")')
            elif ending == "json":
                reads.append(f'.json("{stem}")')
            else:
                others.append(f'.path("{name}")')
        # A report's figures are many.
        return ", ".join(reads + (others if len(others) < 4 else [f"{len(others)} other .files"])) or "no files"

    def _summary(self) -> str:
        """The run and its main table."""
        if self.folder is not None and not (self.folder / "run.json").is_file():
            return f"no finished run in {self.folder}"
        run = self.run
        lines = [f"{run['command']} of {run['model']['id']} in {self.folder}"]
        name = next((name for name in _summary.FILES if name in self.files), None)
        if name is not None:
            try:
                lines.append(_summary.FILES[name](self._parsed(name)))
            except GatelensError as error:  # it is no longer what the run wrote
                lines.append(str(error))
        return "\n".join([*lines, f"has {self._reads()}"])

    def __repr__(self) -> str:
        if self.folder is None or (self.printed and self._shown):
            return self.printed.rstrip("\n")
        return self._summary()

    def _repr_html_(self) -> str:
        # A notebook breaks the lines of a wide table where it is shown as text.
        return f'<pre style="white-space: pre; overflow-x: auto">{html.escape(repr(self))}</pre>'


def run(command: str, *arguments: object, tables: str | None = None, **options: object) -> Result:
    """Runs `gatelens COMMAND` and waits for it; what it says meanwhile is shown on `sys.stderr`.

    `arguments` are those without a flag (`run("inspect", "gemma3-270m")`), `options` those with one: `text_tokens=5` is
    `--text-tokens 5`, `json=True` is `--json`, None and False leave it out, a list gives several values, and `class_` is
    `--class`. Without `out` the files go to a temporary folder that is removed with the result. `tables` is the library of
    its tables: pandas, polars or pyarrow; without it, the first of them that is installed.

    Raises GatelensError with the program's own message where the program fails.
    """
    _tables.check(tables)
    shown = not options.get("json")
    out = options.get("out")
    if out is not None:
        # A shell would write `~` out; the program does not.
        out = options["out"] = os.path.expanduser(text("out", out))
    words = [command, *flags(options), *(text("argument", argument) for argument in arguments)]
    if any(options.get(name) for name in WITHOUT_A_FOLDER):
        return Result(None, run_captured(words), tables)
    if out is not None:
        return Result(Path(out), run_captured(words), tables, shown)
    if command == "merge" and len(arguments) == 1:
        return Result(Path(text("argument", arguments[0])), run_captured(words), tables, shown)
    if any(options.get(name) for name in ABOUT_A_FOLDER) or not takes_folder(command):
        return Result(None, run_captured(words), tables)
    return run_in_temporary_folder(words, tables, shown)


def open(folder: str | os.PathLike[str], tables: str | None = None) -> Result:
    """A run that was finished before, by its folder. `tables` as in `run`."""
    _tables.check(tables)
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise GatelensError(f"there is no folder {path}")
    if (path / "run.json").is_file():
        return Result(path, tables=tables)
    if (path / "plan.json").is_file():
        raise GatelensError(f"the run in {path} is not finished; go on with the same command and resume=True")
    if any(path.glob("shard-*-of-*")):
        raise GatelensError(f"the run in {path} is in shards; when all are through, gatelens.run('merge', {str(path)!r}) joins them")
    raise GatelensError(f"{path} has no run.json, so it is not the folder of a finished run")


def takes_folder(command: str) -> bool:
    """Whether the command writes a folder. The program knows."""
    return command != "merge" and TAKES_FOLDER.search(run_captured([command, "--help"])) is not None


def run_in_temporary_folder(words: list[str], tables: str | None, shown: bool) -> Result:
    temporary = tempfile.mkdtemp(prefix="gatelens-")
    folder = Path(temporary) / words[0]
    try:
        printed = run_captured([words[0], f"--out={folder}", *words[1:]])
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, KeyboardInterrupt):
            print("the folder was a temporary one and is removed; with out= a run that was stopped can go on", file=sys.stderr)
        raise
    # The program says where its files are, and cannot know that they will not stay.
    said = re.compile(rf"^(files.*) in {re.escape(str(folder))}$", re.MULTILINE)
    printed = said.sub(r"\1 in a temporary folder; out= keeps them", printed)
    result = Result(folder, printed, tables, shown)
    weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result
