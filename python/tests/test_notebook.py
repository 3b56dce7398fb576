"""The notebook of examples/ runs from its first cell to its last."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient

from conftest import ROOT


def test_the_notebook_runs() -> None:
    notebook = nbformat.read(ROOT / "examples" / "recall.ipynb", as_version=4)
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "examples")}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("<iframe" in output.get("data", {}).get("text/html", "") for output in outputs)
