"""Sequence lengths: how long inputs are, how long the outputs they lead to, and what a scheduler may guess of the latter.

The paper takes both from public corpora and profiles a table from input length to the geometric mean of output lengths. The
corpora are not part of it, so lengths here are drawn from clipped log-normals (our choice).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from prema_gym.checks import is_number, is_whole, whole
from prema_gym.errors import ModelError, shown

PROFILE_DRAWS = 1500
"""Pairs of input and output length behind a profiled table."""
PROFILE_SEED = 1909_04548
"""Fixed, so that everybody profiles the same pairs."""
LONGEST = 1 << 20
"""Input or output."""
_MOST_SIGMA = 8.0


def clipped_lognormal(centre: Any, sigma: Any, z: Any, low: Any, high: Any) -> Any:
    """Return ``centre * exp(sigma * z)`` for standard normal ``z``, rounded half to even and clipped to [low, high], as floats.

    Scalars or arrays; made of NumPy ufuncs only, so that compiled code may jit this very function.
    """
    return np.minimum(np.maximum(np.rint(centre * np.exp(sigma * z)), low), high)


@dataclasses.dataclass(frozen=True)
class LengthSpec:
    """Input lengths of a network, and output lengths where it generates a sequence.

    input = clip(round(median * exp(sigma * z)), min, max), z standard normal;
    output = clip(round(ratio * input * exp(output_sigma * z)), 1, max_output), with another z.
    """

    min: int
    max: int
    median: int
    sigma: float
    """Standard deviation of the logarithm of the input length, before clipping."""
    ratio: float | None = None
    """Output steps per input step; None where the network has no output loop."""
    output_sigma: float = 0.0
    """Standard deviation of the logarithm of the output length at a given input length."""
    max_output: int = 1
    """The longest output a decoder is let run to."""

    def __post_init__(self) -> None:
        self._require("min", is_whole(self.min, 1, LONGEST), f"at least 1, and a whole number up to {LONGEST}")
        self._require("max", is_whole(self.max, self.min, LONGEST), f"at least min ({self.min}), and up to {LONGEST}")
        ok = is_number(self.median) and self.min <= self.median <= self.max
        self._require("median", ok, f"from min to max ({self.min} to {self.max})")
        self._require("sigma", is_number(self.sigma) and 0 <= self.sigma <= _MOST_SIGMA, "at least 0 and at most 8")
        ok = self.ratio is None or (is_number(self.ratio) and 0 < self.ratio <= LONGEST)
        self._require("ratio", ok, f"None or above 0 and up to {LONGEST}")
        ok = is_number(self.output_sigma) and 0 <= self.output_sigma <= _MOST_SIGMA
        self._require("output_sigma", ok, "at least 0 and at most 8")
        self._require("max_output", is_whole(self.max_output, 1, LONGEST), f"at least 1, and a whole number up to {LONGEST}")

    def _require(self, field: str, ok: bool, rule: str) -> None:
        if not ok:
            raise ModelError(f"LengthSpec.{field} = {shown(getattr(self, field))}: must be {rule}.")

    @property
    def has_output(self) -> bool:
        """Whether the output length varies, and isn't known before it is generated."""
        return self.ratio is not None

    def check_input(self, input_length: object) -> int:
        """Return ``input_length`` as an int; raises :class:`ModelError` unless it is a whole number from min to max."""
        return whole("input_length", input_length, self.min, self.max, error=ModelError)

    def check_output(self, output_length: object) -> int:
        """Return ``output_length`` as an int; raises :class:`ModelError` unless it is a whole number from 1 to max_output."""
        if not self.has_output:
            raise ModelError(f"output_length = {shown(output_length)}: must be None, for this network generates no sequence.")
        return whole("output_length", output_length, 1, self.max_output, error=ModelError)

    def input_lengths(self, z: Any) -> np.ndarray:
        """Return the input lengths (int64, shape of ``z``) that standard normals ``z`` stand for."""
        return np.asarray(clipped_lognormal(self.median, self.sigma, np.asarray(z), self.min, self.max), dtype=np.int64)

    def output_lengths(self, input_lengths: Any, z: Any) -> np.ndarray:
        """Return the output lengths (int64) that standard normals ``z`` stand for at ``input_lengths``."""
        if self.ratio is None:
            raise ModelError("LengthSpec.ratio = None: this network generates no sequence, so it has no output lengths.")
        centre = self.ratio * np.asarray(input_lengths)
        return np.asarray(clipped_lognormal(centre, self.output_sigma, np.asarray(z), 1, self.max_output), dtype=np.int64)


@functools.cache
def output_length_table(spec: LengthSpec, draws: int = PROFILE_DRAWS, seed: int = PROFILE_SEED) -> np.ndarray:
    """Return the profiled output length per input length: float64 (max - min + 1,), entry i for input length min + i, read-only.

    Geometric mean of the outputs seen at each input length in ``draws`` pairs; linear between lengths that were seen, and
    constant beyond the shortest and the longest of them.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    inputs = spec.input_lengths(rng.standard_normal(draws))
    outputs = spec.output_lengths(inputs, rng.standard_normal(draws))
    size = spec.max - spec.min + 1
    seen = np.bincount(inputs - spec.min, minlength=size)
    log_sums = np.bincount(inputs - spec.min, weights=np.log(outputs), minlength=size)
    known = np.flatnonzero(seen)
    table = np.interp(np.arange(size), known, np.exp(log_sums[known] / seen[known]))
    table.flags.writeable = False
    return table


def predicted_output_length(spec: LengthSpec, input_length: int | None) -> int:
    """Return the output length that a scheduler expects of ``input_length``: the table's entry, rounded, at least 1."""
    index = spec.check_input(input_length) - spec.min
    return max(1, math.floor(float(output_length_table(spec)[index]) + 0.5))
