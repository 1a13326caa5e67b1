"""Sizes of batches: which programs are the same network at other numbers of samples.

Requests that run together run the program of the next size at or above their samples: sizes are powers of two, as servers pad
batches too, so that there are few programs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.types import NONE, SIZED


class Key(NamedTuple):
    """What a row of the table is: a model at a batch and an input length (None where it has none)."""

    model: str
    batch: int
    input_length: int | None


class Name(NamedTuple):
    """What tells the models of programs apart."""

    model: str
    number: int
    """Of what is registered under that name, which may be replaced; 0 of a network."""
    by_batch: bool
    """Whether its programs depend on the batch."""


def sizes_of(batching: int) -> tuple[int, ...]:
    """Return the sizes 1, 2, 4, ... up to the first that holds ``batching`` samples; none where requests run one by one."""
    if batching == 1:
        return ()
    return tuple(1 << k for k in range((batching - 1).bit_length() + 1))


@jit_borrowing
def size_index(samples):
    """Return the column of AT_SIZE that holds ``samples``: the least k with 2^k at or above them."""
    k = 0
    while (1 << k) < samples:
        k += 1
    return k


def sized_programs(
    keys: Sequence[Key], names: Sequence[Name], sizes: Sequence[int], configuration_of: Callable[[int], int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (P,) SIZED and the (P, S) int32 rows of the same model, input length and configuration at every size.

    ``names`` tell the models of the P ``keys`` apart, and ``configuration_of`` the configuration of a row. A program that is the
    same at any batch is none of a size: to run more of it would cost nothing.
    """
    places = [configuration_of(row) for row in range(len(keys))]
    found: dict[tuple[object, ...], int] = {}
    for row, (key, name, place) in enumerate(zip(keys, names, places, strict=False)):
        if name.by_batch:
            found.setdefault((name, key.input_length, place, key.batch), row)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    sized, at_size = np.zeros(len(keys), SIZED), np.full((len(keys), len(sizes)), NONE, np.int32)
    for row, (key, name, place) in enumerate(zip(keys, names, places, strict=False)):
        sized[row] = (numbers[name], key.input_length or 0, key.batch)
        at_size[row] = [found.get((name, key.input_length, place, size), NONE) for size in sizes]
    return sized, at_size
