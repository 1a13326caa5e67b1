"""Imports run one way and in no circle, heavy libraries stay lazy, and everything that is imported is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("prema_gym", "baselines", "agents")

# From the bottom up: a module imports its own layer and those above it in this list. The longest matching prefix counts.
LAYERS = (
    (
        "prema_gym.types",
        "prema_gym.config",
        "prema_gym.errors",
        "prema_gym.checks",
        "prema_gym.files",
        "prema_gym.exits",
        "prema_gym._jit",
    ),
    ("prema_gym.hardware",),
    ("prema_gym.workloads",),
    ("prema_gym.sim",),
    ("prema_gym.metrics",),
    ("prema_gym.envs",),
    ("prema_gym.rendering",),
    ("prema_gym",),  # the package itself gathers the public names
    ("baselines",),
    ("agents",),
    ("prema_gym.cli", "prema_gym.__main__"),
)
RANKS = {prefix: rank for rank, layer in enumerate(LAYERS) for prefix in layer}

LATE = {("prema_gym.envs.prema_env", RANKS["prema_gym.rendering"])}
"""Modules that may import a layer above their own inside functions: ``render()`` draws only when it is called."""

LAZY = {"bokeh", "optuna", "ray", "torch", "stable_baselines3", "sb3_contrib", "tensorboard", "pandas", "onnx", "onnxruntime"}


class Import(NamedTuple):
    """One imported name: where, what, and whether it runs as soon as the module does."""

    importer: str
    target: str
    line: int
    eager: bool


def rank(module: str) -> int | None:
    """Return the layer of a module, None where the list above has no place for it."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix == "prema_gym" and module != "prema_gym":
            return None
        if prefix in RANKS:
            return RANKS[prefix]
    return None


def module_name(path: Path) -> str:
    """Return the dotted name of a file below the repository's root."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def is_type_checking(test: ast.expr) -> bool:
    """Tell whether a condition is ``TYPE_CHECKING``."""
    return ast.unparse(test).split(".")[-1] == "TYPE_CHECKING"


def targets(node: ast.AST, module: str, is_package: bool, known: set[str]) -> Iterator[str]:
    """Yield the modules that one node imports, as absolute dotted names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module.split(".") if is_package else module.split(".")[:-1]
        above = package[: len(package) - (node.level - 1)] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in known else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
        yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def imports_of(source: str, module: str, *, is_package: bool = False, known: set[str] | None = None) -> list[Import]:
    """Return every import in a module's source, those inside functions and under ``TYPE_CHECKING`` included."""
    found: list[Import] = []

    def visit(node: ast.AST, eager: bool) -> None:
        for target in targets(node, module, is_package, FILES.keys() if known is None else known):
            found.append(Import(module, target, getattr(node, "lineno", 0), eager))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            eager = False
        lazy_body = node.body if isinstance(node, ast.If) and is_type_checking(node.test) else []
        for child in ast.iter_child_nodes(node):
            visit(child, eager and child not in lazy_body)

    visit(ast.parse(source), True)
    return found


IMPORTS = {
    name: imports_of(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py") for name, path in FILES.items()
}


def is_ours(module: str) -> bool:
    """Tell whether a dotted name lies in one of the three packages."""
    return module.split(".")[0] in PACKAGES


def test_there_is_something_to_check():
    assert {"prema_gym", "baselines"} <= FILES.keys()


@pytest.mark.parametrize(
    ("statement", "module", "target"),
    [
        ("import a.b", "p.m", "a.b"),
        ("from p import x", "p.m", "p.x"),
        ("from p import name", "p.m", "p"),
        ("from . import x", "p.m", "p.x"),
        ("from .x import name", "p.m", "p.x"),
        ("from .. import x", "p.q.m", "p.x"),
        ("from ..x import name", "p.q.m", "p.x"),
        ("def f():\n    import a", "p.m", "a"),
        ("importlib.import_module('a.b')", "p.m", "a.b"),
    ],
)
def test_every_way_to_import_is_seen(statement, module, target):
    (found,) = imports_of(statement, module, known={"p.x"})
    assert found.target == target
    assert found.eager == (not statement.startswith("def"))


def test_imports_relative_to_a_package_start_from_the_package():
    (found,) = imports_of("from .x import name", "p", is_package=True, known=set())
    assert found.target == "p.x"


def test_imports_for_the_type_checker_alone_are_not_eager():
    first, second = imports_of("if TYPE_CHECKING:\n    import a\nelse:\n    import b", "p.m")
    assert (first.target, first.eager) == ("a", False)
    assert (second.target, second.eager) == ("b", True)


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_no_layer_above_its_own(module):
    own = rank(module)
    assert own is not None, f"{module} has no layer: give it a place in LAYERS"
    for item in IMPORTS[module]:
        if is_ours(item.target):
            other = rank(item.target)
            assert other is not None, f"{module}:{item.line} imports {item.target}, which has no layer"
            allowed = other <= own or (not item.eager and (module, other) in LATE)
            assert allowed, f"{module}:{item.line} imports {item.target}, a layer above its own"


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, directly or in a circle: what each member reaches, and is reached from."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = imports[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = {module: reached(module) for module in imports}
    found = {frozenset(other for other in reach[module] if module in reach[other]) for module in imports}
    return [set(circle) for circle in sorted(found, key=sorted) if circle]


def test_a_circle_is_found_and_a_chain_is_none():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_no_modules_import_each_other_in_a_circle_not_even_inside_functions():
    """A package counts as its ``__init__.py``: importing ``a.b`` does not count as importing what ``a`` gathers from below."""
    imports = {module: {item.target for item in items if item.target in FILES} for module, items in IMPORTS.items()}
    assert circles(imports) == []


def test_importing_modules_outside_agents_loads_no_heavy_library():
    eager = [item for items in IMPORTS.values() for item in items if item.eager and not item.importer.startswith("agents")]
    assert [item for item in eager if item.target.split(".")[0] in LAZY] == []


def test_every_third_party_import_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    distributions = packages_distributions()

    def names(requirements: list[str]) -> set[str]:
        return {normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}

    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    core = names(project["dependencies"])
    every = core.union(*map(names, project["optional-dependencies"].values()))
    for item in (item for items in IMPORTS.values() for item in items):
        top = item.target.split(".")[0]
        if is_ours(item.target) or top in sys.stdlib_module_names:
            continue
        declared = core if item.eager and not item.importer.startswith("agents") else every
        providers = {normal(name) for name in distributions.get(top, [top])}
        assert providers & declared, f"{item.importer}:{item.line} imports {top}, which pyproject.toml does not declare for it"


@pytest.mark.parametrize("package", ["prema_gym", "baselines"])
def test_importing_a_package_in_a_fresh_interpreter_loads_no_heavy_library(package):
    heavy = sorted(LAZY | {"matplotlib"})
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
