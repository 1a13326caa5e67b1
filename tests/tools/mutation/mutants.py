"""Mutants: copies of a module with one change each, played against the reference, interpreted, each in a process of its own.

The parent must not have imported ``prema_gym``: a child does, with one module's source replaced.
"""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.mutation.plans import Plan, first_difference

os.environ["NUMBA_DISABLE_JIT"] = "1"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Mutant:
    """One changed copy of a module."""

    module: str
    """Dotted name."""
    change: str
    """Where and what, for people."""
    source: str


def path_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


# --- One change at a time ----------------------------------------------------------------------------------------------------

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
RENAMES = {"min": "max", "max": "min"}


def _operators(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield copies of ``node`` with another operator, constant or function."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in SWAPS.get(type(node.ops[0]), ()):
            changed = copy.deepcopy(node)
            changed.ops = [other()]  # type: ignore[list-item]
            yield "comparison", changed
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)):
        for other in SWAPS.get(type(node.op), ()):
            changed = copy.deepcopy(node)
            changed.op = other()  # type: ignore[assignment]
            yield "operator", changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield "sign", copy.deepcopy(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "constant", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Name) and node.id in RENAMES:
        yield "function", ast.Name(RENAMES[node.id], node.ctx)


def _stores(node: ast.AST) -> bool:
    """Return whether ``node`` assigns to an attribute or an element: a name left unassigned would only crash."""
    return isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))


def _calls(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _statements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what may stand in place of a statement: nothing, or its branch always or never taken."""
    if isinstance(node, (ast.AugAssign, ast.Break, ast.Continue)) or _stores(node) or _calls(node):
        yield "dropped", ast.Pass()
    elif isinstance(node, ast.If):
        for value in (True, False):
            changed = copy.deepcopy(node)
            changed.test = ast.Constant(value)
            yield "condition", changed


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list"}:
            continue
        if isinstance(value, list):
            yield from ((name, index, child) for index, child in enumerate(value) if isinstance(child, ast.AST))
        elif isinstance(value, ast.AST):
            yield name, None, value


def _place(parent: ast.AST, name: str, index: int | None, child: ast.AST) -> None:
    if index is None:
        setattr(parent, name, child)
    else:
        getattr(parent, name)[index] = child


def _messages(node: ast.AST) -> bool:
    """Return whether ``node`` only words an error."""
    return isinstance(node, (ast.Raise, ast.JoinedStr))


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every mutant of the functions of ``module``."""
    tree = ast.parse(path_of(module).read_text())

    def visit(node: ast.AST, function: str) -> Iterator[Mutant]:
        for name, index, child in _children(node):
            inside = f"{function}.{child.name}".lstrip(".") if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else function
            if _messages(child):
                continue
            if inside:
                for kind, changed in (*_operators(child), *_statements(child)):
                    _place(node, name, index, ast.fix_missing_locations(changed))
                    yield Mutant(module, _told(module, inside, kind, child, changed), ast.unparse(tree))
                    _place(node, name, index, child)
            yield from visit(child, inside)

    yield from visit(tree, "")


def _told(module: str, function: str, kind: str, before: ast.AST, after: ast.AST) -> str:
    place = f"{module.rpartition('.')[2]}.py:{getattr(before, 'lineno', 0)} {function}"
    first, second = (ast.unparse(node).splitlines()[0][:60] for node in (before, after))
    return f"{place}: {kind}: {first}  ->  {second}"


# --- A mutant in a process of its own ----------------------------------------------------------------------------------------


class _Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from changed source."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(path_of(mutant.module)))
        self.source = mutant.source

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return compile(self.source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the changed module before anyone finds the true one."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.mutant.module:
            return None
        return importlib.util.spec_from_file_location(fullname, path_of(fullname), loader=_Changed(self.mutant))


def start(mutant: Mutant, plan: Plan, episodes: int, seconds: float) -> int:
    """Fork a process that puts ``mutant`` to its ``plan``; its exit status is 1 where something noticed, else 0.

    ``seconds`` of computing are spent on each game at most, and as much again and a minute on the tests.
    """
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    most = int((1 + len(plan.games)) * seconds) + 60
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.meta_path.insert(0, _Finder(mutant))
    try:
        noticed = any(first_difference(game, episodes, seconds) for game in plan.games) or _fails(plan)
    except BaseException:
        noticed = True
    os._exit(int(noticed))


def _fails(plan: Plan) -> bool:
    """Return whether any test of ``plan`` fails."""
    import pytest

    if not plan.tests:
        return False
    places = [str(ROOT / "tests" / name) for name in plan.tests]
    skipped = [f"--deselect=tests/{name}" for name in plan.skipped]
    return pytest.main(["-x", "-q", "-W", "ignore", "--assert=plain", "-p", "no:cacheprovider", *skipped, *places]) != 0
