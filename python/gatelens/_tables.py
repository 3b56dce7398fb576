"""Tables by whichever library there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gatelens._errors import GatelensError


def pandas_parquet(path: Path) -> Any:
    import pandas

    return pandas.read_parquet(path)


def pandas_records(records: Sequence[dict[str, Any]]) -> Any:
    import pandas

    return pandas.DataFrame(list(records))


def polars_parquet(path: Path) -> Any:
    import polars

    return polars.read_parquet(path)


def polars_records(records: Sequence[dict[str, Any]]) -> Any:
    import polars

    return polars.DataFrame(list(records), infer_schema_length=None)


def pyarrow_parquet(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def pyarrow_records(records: Sequence[dict[str, Any]]) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(list(records))


# In the order in which they are taken, each with the packages that it needs.
LIBRARIES: dict[str, tuple[Sequence[str], Callable[[Path], Any], Callable[[Sequence[dict[str, Any]]], Any]]] = {
    "pandas": (("pandas", "pyarrow"), pandas_parquet, pandas_records),
    "polars": (("polars",), polars_parquet, polars_records),
    "pyarrow": (("pyarrow",), pyarrow_parquet, pyarrow_records),
}


def check(library: str | None) -> None:
    """Refuses a name that is none of the libraries."""
    if library is not None and library not in LIBRARIES:
        raise ValueError(f"tables is {library!r}; it can be {', '.join(LIBRARIES)}, or None for the first of them that is installed")


def choose(library: str | None) -> str:
    """The library that was asked for, else the first that is installed with all that it needs."""
    check(library)
    for name in [library] if library else LIBRARIES:
        missing = [package for package in LIBRARIES[name][0] if find_spec(package) is None]
        if not missing:
            return name
        if library:
            raise GatelensError(f"tables of {name} need {' and '.join(missing)}, which is not installed: pip install {' '.join(missing)}")
    raise GatelensError(
        "a table needs pandas with pyarrow, or polars, or pyarrow, and none of them is installed: pip install pandas pyarrow"
    )


def from_parquet(path: Path, library: str) -> Any:
    return LIBRARIES[library][1](path)


def from_records(records: Sequence[dict[str, Any]], library: str) -> Any:
    return LIBRARIES[library][2](records)
