"""Hostile values, and valid ones to be spoilt: drawn from a seeded generator, a case plays again by its number."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np


class Unprintable:
    """Whose repr is an error."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Untrue:
    """Which claims to be a whole number, and is none."""

    def __index__(self) -> int:
        raise RuntimeError("no number")


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 255, 1.0, 0.5, -0.0, -1.5, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e-9,
    2**31 - 1, 2**31, 2**32, 2**40, 2**42, 2**53, 2**57, 2**60, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30, 10**400,
    -(10**400), 10**5000, "", " ", "1", "-1", "nan", "prema", "edge", "short", "CNN-AN", "PREMA", "window", "poisson", "CHECKPOINT",
    "\0", "\ud800", "a" * 10_000, "../../etc", "/dev/null", "no.csv", b"bytes", 1j, Fraction(1, 3), Decimal("NaN"), Path("x"),
    np.int8(3), np.int64(-1), np.uint64(2**64 - 1), np.float32("nan"), np.float64(0.5), np.bool_(True), np.array(2),
    np.str_("edge"),
)  # fmt: skip
"""By themselves."""
OTHERS: tuple[Callable[[], Any], ...] = (
    list, dict, set, object, Unprintable, Untrue, _endless, lambda: (), lambda: [[]], lambda: [None], lambda: print, lambda: int,
    lambda: {"preset": "edge"}, lambda: {"preset": []}, lambda: {"ms": 5}, lambda: {"ms": 10**400}, lambda: {1: 2},
    lambda: {"": ""},
    lambda: range(3), lambda: iter([1]), lambda: np.array([1, 2]), lambda: np.array(["a", "b"]), lambda: np.zeros((2, 2)),
    lambda: np.array([None, 1], dtype=object), lambda: [1, 2, 3], lambda: ["short", "short"], lambda: {"antt": 1.0},
    lambda: frozenset([1]),
)  # fmt: skip
"""Made anew each time."""


def anything(rng: random.Random, depth: int = 2) -> Any:
    """Return a hostile value; now and then a list or a mapping of some."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(SCALARS)
    if draw < 0.85 or depth == 0:
        return rng.choice(OTHERS)()
    if draw < 0.95:
        return [anything(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    return {str(rng.choice(("preset", "ms", "model", "antt", "1"))): anything(rng, depth - 1) for _ in range(2)}


def spoilt(rng: random.Random, fields: dict[str, Any], most: int = 2) -> dict[str, Any]:
    """Return ``fields`` with up to ``most`` of them replaced by hostile values, one left out, or one that nobody knows."""
    changed = dict(fields)
    for name in rng.sample(sorted(fields), min(len(fields), rng.randint(0, most))):
        changed[name] = anything(rng)
    if rng.random() < 0.1:
        changed.pop(rng.choice(sorted(fields)))
    if rng.random() < 0.05:
        changed[rng.choice(("nonesuch", "", "prema", "__class__"))] = anything(rng)
    return changed


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` truncated, with bits flipped, bytes put in or taken out, or a stretch of it twice."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                del changed[where:]
            case 1 if where < len(changed):
                changed[where] ^= 1 << rng.randrange(8)
            case 2:
                changed[where:where] = rng.choice(
                    (b"\0", b"\xff", b"-", b"9" * 400, b"[" * 3000, b'"', b"\n", b",", b"NaN", b"1e999")
                )
            case 3:
                del changed[where : where + rng.randint(1, 20)]
            case 4:
                changed[where:where] = changed[where : where + rng.randint(1, 200)]
            case _:
                changed[where : where + 8] = rng.randbytes(8)
    return bytes(changed)
