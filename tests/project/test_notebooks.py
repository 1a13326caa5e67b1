"""Every notebook runs from a clean kernel, each cell twice, and shows what its committed outputs show; pictures are in them."""

from __future__ import annotations

import time

import nbformat
import pytest
from tools.notebooks import PATHS, code_cells, differences, pictures_of, prepared, read, run, same_text, text_of, twice

NAMES = ["01_quickstart", "02_paper", "03_train_and_compare", "04_your_own_model"]
PICTURES = {"01_quickstart": 2, "02_paper": 4, "03_train_and_compare": 2, "04_your_own_model": 3}
MOST_BYTES = 1_500_000
"""Of all notebooks together: pictures would fill the repository."""
LEAST_PIXELS, LEAST_COLORS = 100_000, 8
"""Of a picture that shows something."""


def test_the_notebooks_are_all_there_and_small():
    assert [path.stem for path in PATHS] == NAMES
    assert sum(path.stat().st_size for path in PATHS) < MOST_BYTES


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_is_valid_and_committed_with_its_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells if not cell.source.endswith(";"))
    assert not any("/tmp" in text_of(cell) or "Traceback" in text_of(cell) for cell in cells)
    assert notebook == prepared(notebook), "written by hand? run make notebooks"


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebooks_pictures_show_something(path):
    pictures = [picture for cell in code_cells(read(path)) for picture in pictures_of(cell)]
    assert len(pictures) == PICTURES[path.stem]
    for picture in pictures:
        assert picture.width * picture.height > LEAST_PIXELS
        assert len(picture.convert("RGB").getcolors(1 << 20)) > LEAST_COLORS


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_has_no_logic_of_its_own(path):
    """What is worth a function or a loop over more than a line lives in the packages; building a network is the subject of 04."""
    source = "\n".join(cell.source for cell in code_cells(read(path)))
    assert source.count("def ") <= (1 if path.stem == "04_your_own_model" else 0)
    assert "class " not in source


@pytest.mark.filterwarnings("ignore:::jupyter_client", "ignore:::nbclient", "ignore:::zmq")  # not about our code
@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_a_notebook_shows_what_it_is_committed_with_and_any_cell_runs_twice(path):
    began = time.perf_counter()
    kept = read(path)
    cells = code_cells(run(twice(kept)))  # one run: the second of each cell has to end well, the first to show what is committed
    print(f"{path.name}: {time.perf_counter() - began:.0f} s")
    warned = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert warned == []
    assert [line for old, new in zip(code_cells(kept), cells[::2], strict=True) for line in differences(old, new)] == []


# --- The comparison itself --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("ANTT 2.3280581", "ANTT 2.3280582", True),
        ("ANTT 2.328", "ANTT 2.329", False),
        ("a  1\nb 2", "a 1\nb  2", True),
        ("PREMA 1.0", "P-SJF 1.0", False),
        ("1 2 3", "1 2", False),
        ("-1.5e-07", "1.5e-07", False),
    ],
)
def test_text_is_the_same_but_for_last_digits_and_the_width_of_columns(old, new, same):
    assert same_text(old, new) == same


def cell(text: str, *tags: str) -> nbformat.NotebookNode:
    made = nbformat.v4.new_code_cell(id="one", outputs=[nbformat.v4.new_output("stream", text=text)])
    made.metadata["tags"] = list(tags)
    return made


def test_of_what_was_learned_only_the_words_are_compared():
    assert differences(cell("LINEAR 1.31 better True", "learned"), cell("LINEAR 2.90 better True", "learned")) == []
    assert differences(cell("LINEAR 1.31"), cell("LINEAR 2.90")) != []
    assert differences(cell("LINEAR is better", "learned"), cell("no such policy", "learned")) != []


def test_a_lost_picture_is_noticed():
    (path,) = (path for path in PATHS if path.stem == "01_quickstart")
    kept = next(one for one in code_cells(read(path)) if pictures_of(one))
    lost = kept.copy()
    lost.outputs = []
    assert any("pictures" in line for line in differences(kept, lost))
