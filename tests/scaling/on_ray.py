"""Whether Ray is installed, and what is asked of processes that it has left."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def is_installed(name: str) -> bool:
    """Return whether there is a package of that name: a mere folder called so, on the path, is none."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None


HAS_RAY = is_installed("ray")
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: make ray makes an environment that has it")


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has asked about yet doesn't."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
