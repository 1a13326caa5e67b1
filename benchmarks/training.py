"""Training throughput: MaskablePPO on the native vector environment against the same on an environment that costs nothing.

python benchmarks/training.py            frames per second of both, and their ratio
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecEnv

from agents.learning.sb3.adapter import PremaVecEnv


class FreeEnv(PremaVecEnv):
    """The same spaces, arrays and infos, and nothing simulated."""

    def reset(self) -> np.ndarray:
        """Return the first observations, which then stay."""
        self._observation = super().reset()
        self._masks = super().action_masks()
        return self._observation

    def action_masks(self) -> np.ndarray:
        """Return the first masks."""
        return self._masks

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Return the same again."""
        rows = self.num_envs
        return self._observation.copy(), np.zeros(rows, np.float32), np.zeros(rows, np.bool_), [{} for _ in range(rows)]


def frames_per_second(env: VecEnv, steps: int, batch: int, updates: int) -> float:
    model = MaskablePPO("MlpPolicy", env, n_steps=steps, batch_size=batch, n_epochs=4, gamma=1.0, device="cpu", seed=0)
    frames = steps * env.num_envs
    model.learn(frames)  # warm
    start = time.perf_counter()
    model.learn(frames * updates)
    return frames * updates / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=3)
    updates = parser.parse_args().updates
    for rows, steps, batch in ((1024, 32, 8192), (256, 64, 4096)):
        real = frames_per_second(PremaVecEnv(rows, split="train", decision_every=4), steps, batch, updates)
        free = frames_per_second(FreeEnv(rows, split="train", decision_every=4), steps, batch, updates)
        print(f"{rows} rows, batch {batch}: {real:,.0f} frames/s, free {free:,.0f}, ratio {real / free:.2f}")


if __name__ == "__main__":
    main()
