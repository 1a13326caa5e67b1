"""Every notebook runs from a clean kernel, without errors or warnings, and is committed without outputs."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = ["01_quickstart", "02_paper", "03_train_and_compare", "04_your_own_model"]
CELL_SECONDS = 300
"""A cell that takes longer hangs: compiling on a busy machine included."""


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_the_notebooks_are_all_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_valid_and_stripped_of_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_no_logic_of_its_own(path):
    """What is worth a function or a loop over more than a line lives in the packages; building a network is the subject of 04."""
    source = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert source.count("def ") <= (1 if path.stem == "04_your_own_model" else 0)
    assert "class " not in source


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::jupyter_client", "ignore:::nbclient", "ignore:::zmq")  # not about our code
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_from_a_clean_kernel(path, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read(path)
    began = time.perf_counter()
    NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    print(f"{path.name}: {time.perf_counter() - began:.0f} s")
    warned = [
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert warned == []
