"""What comes back."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import gatelens
from gatelens import _tables


def test_a_run_without_a_folder_lives_as_long_as_its_result(tiny: dict[str, Any]) -> None:
    result = gatelens.run("ablate", **tiny)
    folder = result.folder
    assert folder is not None and folder.is_dir()
    assert result.files == ["draws.parquet", "effects.json", "outcomes.parquet"]
    assert result.run["command"] == "ablate" and result.run["finished"] is True
    assert "difference to baseline" in repr(result)
    assert "files in a temporary folder; out= keeps them" in repr(result) and str(folder) not in repr(result)
    del result
    gc.collect()
    assert not folder.parent.exists()


def test_a_folder_with_a_name_stays_and_is_opened(tmp_path: Path, tiny: dict[str, Any]) -> None:
    out = tmp_path / "run"
    result = gatelens.run("ablate", **tiny, out=out)
    assert result.folder == out
    opened = gatelens.open(str(out))
    assert opened.outcomes.equals(result.outcomes)
    assert f"files in {out}" in repr(result)
    del result
    gc.collect()
    assert out.is_dir()
    with pytest.raises(gatelens.GatelensError, match="--force"):
        gatelens.run("ablate", **tiny, out=out)
    assert gatelens.run("ablate", **tiny, out=out, force=True).run["counts"] == opened.run["counts"]


def test_a_home_folder_is_written_out(tmp_path: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert gatelens.run("ablate", **tiny, out="~/run").folder == tmp_path / "run"
    assert gatelens.open("~/run").run["finished"] is True


def test_tables_are_of_the_first_library_or_of_the_one_asked_for(result: gatelens.Result) -> None:
    rows = result.outcomes
    assert type(rows).__module__.startswith("pandas")
    clean, edited = 12, 12 * (1 + 5)
    assert len(rows) == clean + edited
    assert set(rows["arm"]) == {"clean", "class", "baseline"}
    for library in ("pandas", "polars", "pyarrow"):
        for name, shape in [("outcomes", rows.shape), ("outcomes.parquet", rows.shape), ("effects", None)]:
            table = result.table(name, tables=library)
            assert type(table).__module__.startswith(library)
            assert shape is None or table.shape == shape
    metrics = list(result.effects["metric"])
    assert metrics[0] == "target_logprob"
    assert result.table("effects", tables="polars")["metric"].to_list() == metrics
    assert result.table("effects", tables="pyarrow")["metric"].to_pylist() == metrics
    assert gatelens.open(str(result.folder), tables="polars").outcomes.height == len(rows)
    with pytest.raises(ValueError, match="pandas, polars, pyarrow"):
        result.table("outcomes", tables="numpy")


def test_no_library_loses_a_column_that_the_first_row_lacks() -> None:
    for library in _tables.LIBRARIES:
        assert _tables.from_records([{"a": 1}, {"a": 2, "b": {"low": 0.5}}], library).shape == (2, 2)


def test_without_a_library_the_message_says_which(result: gatelens.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: set[str] = set()
    found = importlib.util.find_spec
    monkeypatch.setattr("gatelens._tables.find_spec", lambda name: found(name) if name in installed else None)
    with pytest.raises(gatelens.GatelensError, match="pandas with pyarrow, or polars, or pyarrow"):
        _ = result.outcomes
    installed.add("pandas")
    with pytest.raises(gatelens.GatelensError, match="pandas reads Parquet files with pyarrow, .* pip install pyarrow$"):
        _ = result.outcomes
    assert type(result.effects).__module__.startswith("pandas")
    with pytest.raises(gatelens.GatelensError, match="polars is not installed: pip install polars$"):
        result.table("effects", tables="polars")
    # All tables of a run are of one library where one can read them all.
    installed.add("polars")
    assert type(result.outcomes).__module__.startswith("polars")
    assert type(result.effects).__module__.startswith("polars")
    assert type(result.table("effects", tables="pandas")).__module__.startswith("pandas")


def test_files_by_name(result: gatelens.Result) -> None:
    assert [effect["metric"] for effect in result.json("effects")] == list(result.effects["metric"])
    with pytest.raises(gatelens.GatelensError, match=r'no neurons: this run of ablate has .table\("draws"\), .effects, .outcomes$'):
        _ = result.neurons
    with pytest.raises(gatelens.GatelensError, match="has no curve.json"):
        result.json("curve")
    with pytest.raises(gatelens.GatelensError, match="not JSON; call it with json=True"):
        result.json()
    # A file outside of the run has no name in it.
    with pytest.raises(gatelens.GatelensError, match="has no ../"):
        result.path("../secret.txt")


def test_classify_has_neurons(tiny: dict[str, Any]) -> None:
    result = gatelens.run("classify", model=tiny["model"])
    assert len(result.neurons) == result.run["counts"]["neurons"] == 320
    with pytest.raises(gatelens.GatelensError, match=r'\.json\("classes"\) gives it as it is'):
        result.table("classes")
    assert sum(result.json("classes")["totals"].values()) == 320


def test_a_file_that_is_no_table_says_where_it_is(tiny: dict[str, Any]) -> None:
    result = gatelens.run("sweep", **tiny, window=2)
    with pytest.raises(gatelens.GatelensError, match=r'heat_map.svg is no table; \.path\("heat_map.svg"\)'):
        result.table("heat_map.svg")
    assert result.path("heat_map.svg").read_text(encoding="utf-8").startswith("<svg")


def test_text_has_outcomes_too(tiny: dict[str, Any], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("A text that says little.\n---\nAnd one more, not longer.\n", encoding="utf-8")
    result = gatelens.run("ablate", model=tiny["model"], neurons=tiny["neurons"], text=text, draws=5)
    assert "next_token" in result.outcomes.columns


def test_a_changed_file_is_noticed(tiny: dict[str, Any], tmp_path: Path) -> None:
    result = gatelens.run("ablate", **tiny, out=tmp_path / "run")
    effects = tmp_path / "run" / "effects.json"
    effects.write_text(effects.read_text(encoding="utf-8").replace("0", "1"), encoding="utf-8")
    with pytest.raises(gatelens.GatelensError, match="effects.json is not what the run wrote"):
        _ = result.effects


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(gatelens.GatelensError, match="has no run.json"):
        gatelens.open(tmp_path)
    with pytest.raises(gatelens.GatelensError, match="there is no folder"):
        gatelens.open(tmp_path / "none")
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(gatelens.GatelensError, match="not finished; go on with"):
        gatelens.open(tmp_path)


def test_the_page_is_a_frame_of_its_own(result: gatelens.Result, tmp_path: Path) -> None:
    before = sorted(path.name for path in Path(str(result.folder)).iterdir())
    page = result.report()
    assert page.html.startswith("<!DOCTYPE html>") and "ablate" in page.html
    assert page._repr_html_().startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    assert sorted(path.name for path in Path(str(result.folder)).iterdir()) == before


def test_a_command_without_a_folder(tiny: dict[str, Any]) -> None:
    result = gatelens.run("inspect", tiny["model"], json=True)
    assert result.folder is None and result.json()["family"] == "llama"
    planned = gatelens.run("ablate", **tiny, dry_run=True)
    assert "nothing is written" in repr(planned) and "gatelens-" not in repr(planned)
    for ask in (lambda: result.run, lambda: result.outcomes, result.report, lambda: planned.effects):
        with pytest.raises(gatelens.GatelensError, match="writes no folder"):
            ask()
    assert "llama" in repr(gatelens.run("inspect", tiny["model"]))


def test_shards_and_their_merge(tiny: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "shared"
    for shard in ("0/2", "1/2"):
        part = gatelens.run("ablate", **tiny, out=out, shard=shard)
        with pytest.raises(gatelens.GatelensError, match="has no run.json"):
            _ = part.run
        assert repr(part) == f"no finished run in {out}"
        with pytest.raises(gatelens.GatelensError, match=r"is in shards; .* gatelens.run\('merge', "):
            gatelens.open(out)
    merged = gatelens.run("merge", out)
    assert merged.folder == out
    assert merged.outcomes.equals(gatelens.run("ablate", **tiny).outcomes)
