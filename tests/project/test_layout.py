"""CONTRIBUTING says what every folder is for and which commands keep working; the tree and the pages agree with it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TOP = ("prema_gym", "baselines", "agents", "benchmarks", "docs", "examples", "notebooks", "tests")
CODE = (".py", ".ipynb")
MOST_FILES, MOST_LINES = 14, 420


def section(title: str) -> str:
    """Return the text under a heading of CONTRIBUTING."""
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


FOLDERS_SECTION = section("What every folder is for")
FOLDERS = re.findall(r"^\| `([\w/]+)/` \| .+ \|$", FOLDERS_SECTION, re.MULTILINE)
LARGER = re.findall(r"^- `([\w./]+)`", FOLDERS_SECTION, re.MULTILINE)
COMMANDS = set(re.findall(r"`(python -m [\w.]+|make [a-z-]+)`", section("Commands")))


def code_files() -> list[Path]:
    """Return every file with code in the tree, by its path from the root."""
    files = [path for top in TOP for path in (ROOT / top).rglob("*") if path.suffix in CODE]
    return [path.relative_to(ROOT) for path in files if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


def test_every_folder_with_code_is_listed_once_and_no_other():
    assert sorted(FOLDERS) == sorted({path.parent.as_posix() for path in code_files()})


def test_a_folder_or_file_beyond_the_limits_has_its_reason():
    folders = [path.parent.as_posix() for path in code_files()]
    large = {folder for folder in folders if folders.count(folder) > MOST_FILES}
    for path in code_files():
        if path.suffix == ".py" and (ROOT / path).read_text(encoding="utf-8").count("\n") > MOST_LINES:
            large.add(path.as_posix())
    assert large == set(LARGER)


def test_every_command_that_a_page_names_is_listed():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    modules = re.findall(r"python -m (?:prema_gym|baselines|agents|tools)\b[\w.]*", text)
    targets = re.findall(r"(?:`|^)(make [a-z-]+)", text, re.MULTILINE)
    assert {command.rstrip(".") for command in modules + targets} <= COMMANDS


def test_every_listed_command_exists():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {command.removeprefix("make ") for command in COMMANDS if command.startswith("make ")} == targets - {"help"}
    for command in COMMANDS:
        if command.startswith("python -m "):
            parts = command.removeprefix("python -m ").split(".")
            place = (ROOT / "tests" if parts[0] in ("tools", "hostile") else ROOT).joinpath(*parts)
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), command
