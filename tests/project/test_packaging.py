"""What the project says about itself: one version, pinned dependencies, typed packages, nothing of one machine in its files."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


APART = "ray"
"""The extra with an environment, and a file of pins, of its own."""


def pins(file: str = "constraints.txt") -> dict[str, str]:
    """Return the pinned version of every distribution named in ``file``."""
    lines = [line for line in text(file).splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return {canonicalize_name(match[1]): match[2] for match in matches if match}


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_version_is_the_same_everywhere():
    import prema_gym

    version = PROJECT["version"]
    assert prema_gym.__version__ == version
    assert importlib.metadata.version("prema-gym") == version
    assert re.search(r"^version: (\S+)$", text("CITATION.cff"), re.MULTILINE)[1] == version
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[1] == version


def test_every_dependency_is_pinned_within_its_range():
    pinned = pins("constraints-ray.txt") | pins()
    declared = [*PROJECT["dependencies"], *(item for extra in PROJECT["optional-dependencies"].values() for item in extra)]
    requirements = [requirement for requirement in map(Requirement, declared) if requirement.name != PROJECT["name"]]
    assert requirements
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"neither file of constraints pins {name}"
        assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is outside {requirement.specifier}"


def test_pins_for_ray_are_the_others_but_for_gymnasium():
    ours, theirs = pins(), pins("constraints-ray.txt")
    assert {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]} == {"gymnasium"}
    core_and_learning = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["rl"],
        *PROJECT["optional-dependencies"][APART],
    ]
    for requirement in map(Requirement, core_and_learning):
        assert requirement.specifier.contains(theirs[canonicalize_name(requirement.name)])


def test_the_extra_all_is_every_extra_but_the_one_that_stands_apart():
    extras = dict(PROJECT["optional-dependencies"])
    (everything,) = extras.pop("all")
    assert extras.pop(APART)
    assert Requirement(everything).extras == extras.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_marked_as_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def interpreted_functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function below a node, less those that numba compiles and what is written inside them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(re.search(r"jit|intrinsic|overload|vectorize", ast.unparse(decorator)) for decorator in child.decorator_list):
                continue
            yield child
        yield from interpreted_functions(child)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_function_that_is_not_compiled_is_annotated(package):
    bare = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for function in interpreted_functions(ast.parse(path.read_text(encoding="utf-8")))
        if function.returns is None and function.name != "__init__"
    ]
    assert bare == []  # mypy sees to it that annotations are complete once begun


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine():
    # Written in halves, so that this file passes too.
    hosts = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "download.pytorch" + ".org",
        "registry.npmjs" + ".org",
        "deb.debian" + ".org",
    ]
    folders = ["/" + name + "/" for name in ("home", "root", "work", "opt", "Users")]
    pattern = re.compile("|".join([*map(re.escape, hosts), *(rf"(?<![\w.~}}/-]){re.escape(folder)}\w" for folder in folders)]))
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content:
            lines = enumerate(content.decode("utf-8").splitlines(), start=1)
            found += [f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for number, line in lines if pattern.search(line)]
    assert found == []
