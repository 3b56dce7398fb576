"""gatelens from Python: runs the program, and opens what it wrote.

    import gatelens

    result = gatelens.run("ablate", model="smollm2-135m", classes=["depletion"], draws=20)
    result.outcomes      # outcomes.parquet as a table
    result.effects       # effects.json as a table
    result.report()      # the page, in a notebook

    gatelens.open("runs/depletion")     # the same of a folder that was written before

The program does all the work; `gatelens COMMAND --help` explains every option.
"""

from importlib.metadata import PackageNotFoundError, version

from gatelens._errors import GatelensError
from gatelens._page import Page
from gatelens._result import Result, open, run

try:
    __version__ = version("gatelens")
except PackageNotFoundError:  # read from its source folder, not installed
    __version__ = "unknown"

__all__ = ["GatelensError", "Page", "Result", "__version__", "open", "run"]
