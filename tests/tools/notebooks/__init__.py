"""Notebooks run from a clean kernel: their outputs as they are committed, and what of them two runs must have alike."""

from __future__ import annotations

import base64
import copy
import io
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parents[3] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
CELL_SECONDS = 300
"""A cell that takes longer hangs: compiling on a busy machine included."""
LEARNED = "learned"
"""Tag of cells whose figures come from training: they differ from machine to machine."""
SAME_WORDS = 0.75
"""The least share of words that two runs of such a cell have in common."""
RELATIVE = 1e-6
"""By how much figures of other cells may differ."""
COLORS = 64
"""Of a picture that is committed."""
_AGAIN = "-again"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def read(path: Path) -> NotebookNode:
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without outputs."""
    bare = copy.deepcopy(notebook)
    for cell in code_cells(bare):
        cell.outputs, cell.execution_count = [], None
    return bare


def twice(notebook: NotebookNode) -> NotebookNode:
    """Return a copy in which each cell with code stands twice."""
    doubled = copy.deepcopy(notebook)
    doubled.cells = []
    for cell in notebook.cells:
        again = copy.deepcopy(cell)
        again.id = f"{cell.id}{_AGAIN}"
        doubled.cells += [cell, again] if cell.cell_type == "code" else [cell]
    return doubled


@contextmanager
def _environment(values: dict[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def run(notebook: NotebookNode) -> NotebookNode:
    """Return ``notebook`` run from a clean kernel in an empty folder, with its outputs."""
    ready = stripped(notebook)
    # Pictures go into the outputs whatever the caller's backend is; what is compiled first depends on what ran before.
    paths = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))  # the packages beside the notebooks
    values = {"MPLBACKEND": None, "JUPYTER_PLATFORM_DIRS": "1", "PREMA_GYM_QUIET": "1", "PYTHONPATH": paths}
    with tempfile.TemporaryDirectory() as folder, _environment({**values, "IPYTHONDIR": folder}):
        place = {"metadata": {"path": folder}}
        NotebookClient(ready, timeout=CELL_SECONDS, resources=place, coalesce_streams=True, record_timing=False).execute()
    return ready


# --- What is committed ------------------------------------------------------------------------------------------------------------


def prepared(notebook: NotebookNode) -> NotebookNode:
    """Return an executed notebook as it is committed: pictures small, nothing of the machine."""
    tidy = copy.deepcopy(notebook)
    tidy.metadata.pop("language_info", None)
    tidy.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(code_cells(tidy), start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            if "image/png" in output.get("data", {}) and picture_of(output).mode != "P":
                output.data["image/png"] = base64.b64encode(_small(picture_of(output))).decode()
    return tidy


def _small(picture: Image.Image) -> bytes:
    """Return a picture as a PNG of few colours, which charts don't need more of."""
    file = io.BytesIO()
    plain = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    plain.save(file, "PNG", optimize=True)
    return file.getvalue()


def picture_of(output: NotebookNode) -> Image.Image:
    """Return the picture in an output."""
    return Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))


# --- What two runs have alike -----------------------------------------------------------------------------------------------------


def text_of(cell: NotebookNode) -> str:
    """Return what a cell printed and returned, as text."""
    outputs = cell.outputs
    return "\n".join(out.text if out.output_type == "stream" else out.get("data", {}).get("text/plain", "") for out in outputs)


def pictures_of(cell: NotebookNode) -> list[Image.Image]:
    """Return the pictures of a cell."""
    return [picture_of(output) for output in cell.outputs if "image/png" in output.get("data", {})]


def differences(kept: NotebookNode, new: NotebookNode) -> list[str]:
    """Return in what a cell's outputs differ, one sentence each.

    Text must be the same, numbers to one in a million. Of cells tagged LEARNED only the words are compared, three of four of which
    must be in both. Pictures must be as many, and as large except where learned.
    """
    learned = LEARNED in kept.metadata.get("tags", [])
    found = []
    old_text, new_text = text_of(kept), text_of(new)
    if learned:
        old_words, new_words = (set(re.findall(r"[A-Za-z_]+", text)) for text in (old_text, new_text))
        if len(old_words & new_words) < SAME_WORDS * len(old_words | new_words):
            found.append(f"{kept.id}: words differ: {sorted(old_words ^ new_words)}")
    elif not same_text(old_text, new_text):
        found.append(f"{kept.id}: text differs:\n{old_text}\n--- is now\n{new_text}")
    old_pictures, new_pictures = pictures_of(kept), pictures_of(new)
    if len(old_pictures) != len(new_pictures):
        found.append(f"{kept.id}: {len(old_pictures)} pictures, now {len(new_pictures)}")
    elif not learned and any(_apart(old, new) for old, new in zip(old_pictures, new_pictures, strict=True)):
        found.append(f"{kept.id}: a picture is of another size")
    return found


def same_text(old: str, new: str) -> bool:
    """Return whether two texts are the same but for the last digits of numbers, and for how wide columns are."""
    if _NUMBER.sub("0", " ".join(old.split())) != _NUMBER.sub("0", " ".join(new.split())):
        return False
    pairs = zip(map(float, _NUMBER.findall(old)), map(float, _NUMBER.findall(new)), strict=True)
    return all(math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-9) for a, b in pairs)


def _apart(old: Image.Image, new: Image.Image) -> bool:
    """Whether two pictures differ in size by more than fonts may make out: the frame is cut to what is drawn."""
    return any(abs(a - b) > 0.05 * a for a, b in zip(old.size, new.size, strict=True))
