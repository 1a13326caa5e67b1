"""What an observation costs: ``python benchmarks/observation.py``. Nanoseconds a row of 8 slots, by the groups that it holds.

Rows are those of the vector environment after some decisions at random; the observation is computed for all of them again and
again, and the least time counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from prema_gym._jit import jit_nogil
from prema_gym.envs.observation import Visible, observe
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.sim.book import open_book
from prema_gym.sim.tables import row_of

STREAM = {"horizon_requests": 512, "slots": 8}
WORLDS: dict[str, dict[str, Any]] = {
    "base": {"slots": 8},
    "base, deadlines": {"slots": 8, "workload": {"sla": 4.0}},
    "base, npus (2)": {"slots": 8, "npus": ["prema", "edge"]},
    "base, npus (4)": {"slots": 8, "npus": ["prema", "prema", "edge", "edge"]},
    "all, one NPU": {**STREAM, "workload": {"sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 0.9}}},
    "all, 2 NPUs": {
        **STREAM,
        "npus": ["prema", "edge"],
        "workload": {"sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 0.9}},
    },
}


@jit_nogil
def observe_rows(words, observations):
    """Fill the (N, D) observations of all rows."""
    tables, _, state = open_book(words)
    for i in range(observations.shape[0]):
        row = row_of(state, i)
        rules = tables.rules[row.status.configuration]
        seen = Visible(row.status, row.npus, row.table, row.predictions, row.batches, rules)
        observe(seen, observations[i], row.several, row.stream)


def measure(arguments: dict[str, Any], rows: int, steps: int, repeats: int) -> tuple[float, float, int]:
    """Return (nanoseconds a row, share of slots that hold a task, numbers of an observation)."""
    env = PremaVectorEnv(rows, **arguments)
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        actions = [int(rng.choice(np.flatnonzero(mask))) for mask in info["action_mask"]]
        _, _, _, _, info = env.step(np.array(actions))
    words, observations = env._core.simulator.words, env._core.observations.copy()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        observe_rows(words, observations)
        times.append(time.perf_counter() - start)
    np.testing.assert_array_equal(observations, env._core.observations)
    return 1e9 * min(times) / rows, float(env.view().present.mean()), observations.shape[1]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024, help="(default %(default)s)")
    parser.add_argument("--steps", type=int, default=8, help="decisions at random before (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=300, help="(default %(default)s)")
    options = parser.parse_args()
    for name, arguments in WORLDS.items():
        ns, present, numbers = measure(arguments, options.rows, options.steps, options.repeats)
        print(f"{name:18} {ns:6.0f} ns a row, {numbers} numbers, {present:.0%} of the slots occupied")


if __name__ == "__main__":
    main()
