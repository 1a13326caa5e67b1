"""The tables and the picture of ``docs/batching.md``: what waiting for fuller batches buys, ``python docs/batching_tables.py``.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from tables import renewed_by, table

from baselines import Results, evaluate
from baselines.policies.heuristic import Heuristic
from baselines.policies.policy import Policy
from baselines.policies.registry import make_policy
from baselines.report.load import draw_loads

PAGE, PICTURE = Path(__file__).with_name("batching.md"), Path(__file__).with_name("assets") / "batching.png"
SCENARIO, EPISODES = "PremaBatch-v0", 200
LOADS = (0.8, 1.5, 2.5)
CURVE_LOADS, CURVE_EPISODES = (0.4, 0.8, 1.2, 1.5, 2.0, 2.5, 3.0), 40
DELAYS_MS = (0.0, 1.0, 4.0, 16.0)
MEASURES = {
    "weighted_antt": ("weighted ANTT", 1, 2),
    "ntt_p99": ("p99 NTT", 1, 1),
    "deadline_misses": ("deadlines missed (%)", 100, 1),
    "samples_per_second": ("samples/s", 1, 0),
    "batch_samples": ("samples a batch", 1, 2),
}
"""Of each measure its label, what it is multiplied by, and its decimals."""
PANELS = {
    "ntt_p99": "99th percentile of NTT",
    "deadline_misses": "missed deadlines",
    "samples_per_second": "samples completed per second",
}
CURVES = (
    "one by one, NP-FCFS",
    "one by one, WSRPT",
    "TIMEOUT 0 ms",
    "TIMEOUT 4 ms",
    "LAZY",
    "NP-BATCH-INDEX",
    "DENSITY",
    "BATCH-INDEX",
)


def _policies() -> dict[str, tuple[Policy | str, dict[str, int]]]:
    """Return what is played by the name that the page gives it, and the environment's arguments besides."""
    timeouts = {
        f"{prefix}TIMEOUT {delay:g} ms": (Heuristic(f"{prefix}TIMEOUT {delay:g} ms", "TIMEOUT", mechanism, delay_ms=delay), {})
        for prefix, mechanism in (("", "NONE"), ("P-", "CHECKPOINT"))
        for delay in DELAYS_MS
    }
    one_by_one = {f"one by one, {name}": (name, {"batching": 1}) for name in ("NP-FCFS", "WSRPT")}
    others = {name: (name, {}) for name in ("LAZY", "P-LAZY", "NP-BATCH-INDEX", "DENSITY", "BATCH-INDEX")}
    return {**one_by_one, **timeouts, **others}


def play(load: float, episodes: int, chosen: Collection[str]) -> dict[str, Results]:
    """Return what each of the ``chosen`` policies makes of the same streams."""
    found = {}
    for name, (policy, more) in _policies().items():
        if name not in chosen:
            continue
        played = make_policy(policy) if isinstance(policy, str) else policy
        found[name] = evaluate([played], episodes, scenario=SCENARIO, workload={"arrivals": {"utilisation": load}}, **more)
    return found


def _cell(results: Results, measure: str) -> str:
    _, scale, decimals = MEASURES[measure]
    estimate = results.estimate(results.policies[0], measure)
    return f"{scale * estimate.mean:.{decimals}f} ± {scale * estimate.half_width:.{decimals}f}"


def at_loads() -> str:
    """Return the measures of every policy at each load."""
    rows = []
    for load in LOADS:
        for name, results in play(load, EPISODES, _policies()).items():
            rows.append([f"{load:g}", name, *(_cell(results, measure) for measure in MEASURES)])
    return table(["load", "policy", *(label for label, _, _ in MEASURES.values())], rows, right=len(MEASURES))


def differences() -> str:
    """Return, at each load, BATCH-INDEX less the TIMEOUT of the best delay, in the same streams; bold where zero is excluded."""
    rows = []
    for load in LOADS:
        workload = {"arrivals": {"utilisation": load}}
        for prefix, tuned in (("", "NP-BATCH-INDEX"), ("P-", "BATCH-INDEX")):
            timeouts = [policy for name, (policy, _) in _policies().items() if name.startswith(f"{prefix}TIMEOUT")]
            judged = evaluate(timeouts, 60, split="valid", scenario=SCENARIO, workload=workload)
            best = min(judged.policies, key=lambda name: judged.mean(name, "weighted_antt"))
            rival = next(policy for policy in timeouts if not isinstance(policy, str) and policy.name == best)
            results = evaluate([make_policy(tuned), rival], EPISODES, scenario=SCENARIO, workload=workload)
            cells = []
            for measure in ("weighted_antt", "ntt_p99", "deadline_misses"):
                _, scale, decimals = MEASURES[measure]
                gap = results.difference(tuned, best, measure).difference
                text = f"{scale * gap.mean:.{decimals}f} ± {scale * gap.half_width:.{decimals}f}"
                cells.append(f"**{text}**" if gap.low > 0 or gap.high < 0 else text)
            rows.append([f"{load:g}", f"{tuned} - {best}", *cells])
    return table(["load", "difference", "weighted ANTT", "p99 NTT", "deadlines missed (%)"], rows, right=3)


def draw() -> None:
    """Draw the curves over load."""
    cells = [
        {"policy": name, "load": load, "measures": results.summary(results.policies[0])}
        for load in CURVE_LOADS
        for name, results in play(load, CURVE_EPISODES, CURVES).items()
    ]
    draw_loads(cells, PICTURE, f"{SCENARIO} by load", PANELS)


def main() -> int:
    """Play, and renew the page's tables and picture; return the exit code."""
    draw()
    made = {"loads": at_loads(), "differences": differences()}
    PAGE.write_text(renewed_by(PAGE.read_text(encoding="utf-8"), made.__getitem__), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
