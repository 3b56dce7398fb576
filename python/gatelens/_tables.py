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

    # By itself it takes the columns of the first record alone.
    names = dict.fromkeys(name for record in records for name in record)
    return pyarrow.table({name: [record.get(name) for record in records] for name in names})


# In the order in which they are taken, each with the packages that read Parquet for it.
LIBRARIES: dict[str, tuple[Sequence[str], Callable[[Path], Any], Callable[[Sequence[dict[str, Any]]], Any]]] = {
    "pandas": (("pyarrow",), pandas_parquet, pandas_records),
    "polars": ((), polars_parquet, polars_records),
    "pyarrow": ((), pyarrow_parquet, pyarrow_records),
}


def check(library: str | None) -> None:
    """Refuses a name that is none of the libraries."""
    if library is not None and library not in LIBRARIES:
        raise ValueError(f"tables is {library!r}; it can be {', '.join(LIBRARIES)}, or None for the first of them that is installed")


def choose(library: str | None, parquet: bool) -> str:
    """The library that was asked for, else the first that is installed with all that it needs: then all tables of a run are of
    one library. Where none is, records are read by one that lacks what it needs for Parquet alone."""
    check(library)
    installed = [name for name in ([library] if library else LIBRARIES) if find_spec(name) is not None]
    for name in installed:
        if all(find_spec(package) is not None for package in LIBRARIES[name][0]):
            return name
    if installed and not parquet:
        return installed[0]
    if installed:
        needed = " ".join(LIBRARIES[installed[0]][0])
        raise GatelensError(f"{installed[0]} reads Parquet files with {needed}, which is not installed: pip install {needed}")
    if library:
        raise GatelensError(f"{library} is not installed: pip install {' '.join([library, *LIBRARIES[library][0]])}")
    raise GatelensError(
        "a table needs pandas with pyarrow, or polars, or pyarrow, and none of them is installed: pip install pandas pyarrow"
    )


def from_parquet(path: Path, library: str | None) -> Any:
    return LIBRARIES[choose(library, parquet=True)][1](path)


def from_records(records: Sequence[dict[str, Any]], library: str | None) -> Any:
    return LIBRARIES[choose(library, parquet=False)][2](records)
