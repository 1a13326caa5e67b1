"""What an Einstein sum over two tensors is as matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prema_gym.errors import ModelError


def contraction(equation: str, left: Sequence[int], right: Sequence[int]) -> tuple[int, int, int, int]:
    """Return (count, m, k, n): ``count`` products [m, k] x [k, n] do the work of ``equation``, such as ``"bhid,bhjd->bhij"``."""
    terms, _, result = equation.replace(" ", "").partition("->")
    first, _, second = terms.partition(",")
    if "..." in equation or not result or len(first) != len(left) or len(second) != len(right):
        raise ModelError(f"einsum {equation!r} over shapes {tuple(left)} and {tuple(right)} is not understood.")
    sizes = dict(zip(second, right, strict=True)) | dict(zip(first, left, strict=True))

    def extent(indices: set[str]) -> int:
        return math.prod(sizes[index] for index in indices)

    ours, theirs, kept = set(first), set(second), set(result)
    shared = ours & theirs
    return extent(shared & kept), extent((ours - theirs) & kept), extent(shared - kept), extent((theirs - ours) & kept)
