"""Counter-based randomness: one 64-bit hash gives episode seeds and every draw of an episode, in compiled code and in Python.

An episode's seed fixes its whole trace. Its split sits in the two top bits, so the seeds of different splits differ.
The mixer is SplitMix64's finalizer (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

from prema_gym._jit import jit_borrowing
from prema_gym.checks import one_of

SPLITS = ("env", "train", "valid", "eval")
"""What an episode is for: plain use of the environment, training, selection, and reported figures."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_TWO, _SIXTY_TWO = np.uint64(2), np.uint64(62)


@jit_borrowing
def mix64(x):
    """Return ``x`` (uint64) scrambled: a bijection of the 64-bit words."""
    x = (x ^ (x >> _S30)) * _MIX1
    x = (x ^ (x >> _S27)) * _MIX2
    return x ^ (x >> _S31)


@jit_borrowing
def hash64(split, seed, row, episode):
    """Return the uint64 episode seed of (split index, seed, row, episode index); the split fills the top two bits."""
    x = mix64(np.uint64(seed) + _GOLDEN)
    x = mix64(x ^ (np.uint64(row) + _GOLDEN))
    x = mix64(x + np.uint64(episode) * _GOLDEN)
    return (np.uint64(split) << _SIXTY_TWO) | (x >> _TWO)


@jit_borrowing
def uniform(seed, counter):
    """Return the ``counter``-th uniform draw in [0, 1) of ``seed``."""
    word = mix64(seed + _GOLDEN * (np.uint64(counter) + np.uint64(1)))
    return np.float64(word >> _S11) * 2.0**-53


@jit_borrowing
def exponential(seed, counter):
    """Return an exponential draw of mean 1."""
    return -np.log(1.0 - uniform(seed, counter))


@jit_borrowing
def substream(seed, purpose, index):
    """Return a seed for draws of variable count: one for each ``purpose`` and ``index``, with counters of its own."""
    word = mix64(seed ^ mix64(np.uint64(purpose) + _GOLDEN))
    return mix64(word + np.uint64(index) * _GOLDEN)


@jit_borrowing
def normal(seed, counter):
    """Return a standard normal draw (Box-Muller); it uses the uniforms ``counter`` and ``counter + 1``."""
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(seed, counter)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, counter + 1))


def split_index(split: str) -> int:
    """Return the index of ``split``; raises :class:`ConfigError` for an unknown one."""
    return SPLITS.index(one_of("split", split, SPLITS))


def episode_seeds(split: str, seed: int, episodes: int, *, row: int = 0, first: int = 0) -> np.ndarray:
    """Return the (episodes,) uint64 seeds of episodes ``first``, ``first + 1``, ... of ``split`` under ``seed``."""
    index = split_index(split)
    word = seed % (1 << 64)
    return np.array([hash64(index, np.uint64(word), row, first + k) for k in range(episodes)], dtype=np.uint64)
