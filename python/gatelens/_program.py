"""The program: where it is, and how it is run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from gatelens._errors import GatelensError

NAME = "gatelens.exe" if os.name == "nt" else "gatelens"

# What the program says when it has heard that it should stop, and how long that is waited for.
STOPPING = "stopping;"
HEARS_WITHIN_S = 2.0

# How the program's last message begins.
ERROR = "error: "

# Notebooks set these for their own output. What the program prints is read here, and colours would stand between its letters.
ASKS_FOR_COLOUR = ("CLICOLOR_FORCE", "FORCE_COLOR")


def find() -> str:
    """The program beside this package: in the scripts folder of the interpreter, of the user, or of `pip install --target`;
    else the one on PATH."""
    folders = [Path(sysconfig.get_path("scripts"))]
    folders.append(Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))))
    folders.append(Path(__file__).parent.parent / "bin")
    for folder in folders:
        program = folder / NAME
        if program.is_file():
            return str(program)
    on_path = shutil.which(NAME)
    if on_path:
        warn_of_other_version(on_path)
        return on_path
    tried = ", ".join(str(folder) for folder in folders)
    raise GatelensError(f"the program {NAME} was not found, neither in {tried} nor on PATH; install it with: pip install gatelens")


def warn_of_other_version(program: str) -> None:
    """Options and files may differ between versions, and a program on PATH may be of any."""
    asked = subprocess.run([program, "--version"], capture_output=True, encoding="utf-8", errors="replace", check=False)
    words = asked.stdout.split()
    try:
        package = version("gatelens")
    except PackageNotFoundError:
        return
    if words[1:] != [package]:
        found = " ".join(words) or "of an unknown version"
        warnings.warn(f"the program {program} is {found}, and this package is {package}", stacklevel=2)


def run_attached(command: Sequence[str]) -> int:
    """Runs in the place of this process, or on Windows below it, and gives the exit code."""
    if os.name != "nt":
        os.execv(command[0], list(command))
    previous = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the program alone to answer
    try:
        return subprocess.call(command)
    finally:
        signal.signal(signal.SIGINT, previous)


def run_captured(arguments: Sequence[str]) -> str:
    """Runs the program and gives what it printed. What it says meanwhile (progress, warnings) is shown as it comes, on
    `sys.stderr`, which a notebook shows below the cell.

    Raises GatelensError with the program's message where it fails. KeyboardInterrupt asks the program to stop, waits until it
    has kept what is through, and is raised again.
    """
    command = [find(), *arguments]
    with subprocess.Popen(
        command,
        env={name: value for name, value in os.environ.items() if name not in ASKS_FOR_COLOUR},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        printed, said = Reader(process.stdout, show=False), Reader(process.stderr, show=True)
        readers = (printed, said)
        try:
            wait(process, readers)
        except KeyboardInterrupt:
            stop(process, readers)
            print(message(said.lines, process.returncode), file=sys.stderr)
            raise
        except BaseException:
            process.terminate()  # nobody waits for it any longer
            raise
    if process.returncode != 0:
        raise GatelensError(message(said.lines, process.returncode))
    return "".join(printed.lines)


class Reader(threading.Thread):
    """Reads one of the program's outputs to its end, so that neither of them ever stands still."""

    def __init__(self, source: IO[str], show: bool) -> None:
        super().__init__(daemon=True)
        self.source, self.show = source, show
        self.lines: list[str] = []
        self.start()

    def run(self) -> None:
        for line in self.source:
            self.lines.append(line)
            # An error is raised, not shown twice.
            self.show = self.show and not line.startswith(ERROR)
            if self.show:
                # Where nobody reads on, that is no reason to stop the run.
                try:
                    sys.stderr.write(line)
                    sys.stderr.flush()
                except (OSError, ValueError):
                    self.show = False


def wait(process: subprocess.Popen[str], readers: Sequence[Reader]) -> None:
    """Until the program has ended and everything it wrote is read."""
    process.wait()
    for reader in readers:
        reader.join()


def stop(process: subprocess.Popen[str], readers: Sequence[Reader]) -> None:
    """Sees that the program hears of an interrupt once. Ctrl-C in a terminal, and most notebooks, send it to the program as
    well, and the second one would end it without keeping the pass that is under way. A further interrupt ends it at once."""
    try:
        until = time.monotonic() + HEARS_WITHIN_S
        while process.poll() is None and time.monotonic() < until and not has_heard(readers):
            time.sleep(0.05)
        if process.poll() is None and not has_heard(readers):
            if os.name == "nt":
                process.terminate()  # Windows has no interrupt for one process; what is kept already stays
            else:
                process.send_signal(signal.SIGINT)
        wait(process, readers)
    except KeyboardInterrupt:
        process.kill()
        wait(process, readers)
        raise


def has_heard(readers: Sequence[Reader]) -> bool:
    return any(line.startswith(STOPPING) for reader in readers for line in reader.lines)


def message(lines: Sequence[str], code: int) -> str:
    """The program's own message: from the line that begins with `error: ` on; else the last that it said."""
    start = next((number for number, line in enumerate(lines) if line.startswith(ERROR)), None)
    if start is not None:
        return "".join(lines[start:]).strip().removeprefix(ERROR)
    told = "".join(lines[-20:]).strip()
    ended = f"the program was ended by signal {-code}" if code < 0 else f"the program ended with exit code {code}"
    return f"{ended}\n{told}" if told else f"{ended} and said nothing"
