"""Scenarios: environments with a name, whose arguments are fixed until something about them has to change, and then a new version.

A scenario is nothing but arguments of the environment. ``gym.make("PremaStream-v0", ...)``,
``evaluate(..., scenario="PremaStream-v0")`` and ``compare --scenario PremaStream-v0`` start from them; what is given besides takes
their place, fields of a ``workload`` one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from prema_gym.errors import ConfigError, unknown_name


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A named environment and its card."""

    name: str
    """Its id in Gymnasium's registry."""
    summary: str
    arguments: Mapping[str, Any]
    measure: str
    """The main measure: what policies of this scenario are ranked by."""


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "Prema-v0",
            "the paper's world: eight tasks of its eight networks on one NPU, all known to end",
            {},
            "weighted_antt",
        ),
        Scenario(
            "PremaStream-v0",
            "requests without end on one NPU: the paper's networks by Poisson arrivals at nine tenths of what it can do, each due "
            "within four times its predicted time",
            {
                "horizon_requests": 512,
                "slots": 16,
                "mechanisms": ["CHECKPOINT"],
                "workload": {"sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 0.9}},
            },
            "deadline_misses",
        ),
        Scenario(
            "PremaCluster-v0",
            "the same requests on four unlike NPUs behind one table: two of the paper's and two like TPU v1",
            {
                "npus": ["prema", "prema", "tpu_v1", "tpu_v1"],
                "allow_idle": True,
                "horizon_requests": 512,
                "slots": 32,
                "mechanisms": ["CHECKPOINT"],
                "workload": {"sla": 4.0, "arrivals": {"process": "poisson", "utilisation": 0.9}},
            },
            "tardiness",
        ),
        Scenario(
            "PremaBatch-v0",
            "the paper's networks on one NPU that runs up to sixteen waiting requests of a kind together, asked for half as often "
            "again as it could do one by one",
            {
                "batching": 16,
                "horizon_requests": 512,
                "slots": 64,
                "mechanisms": ["CHECKPOINT"],
                "workload": {"batches": [1], "sla": 8.0, "arrivals": {"process": "poisson", "utilisation": 1.5}},
            },
            "weighted_antt",
        ),
    )
}
"""By id."""


def scenario_of(name: object) -> Scenario:
    """Return the scenario called ``name``; raises :class:`ConfigError` for an unknown one."""
    if not isinstance(name, str) or name not in SCENARIOS:
        raise ConfigError(unknown_name("scenario", name, SCENARIOS))
    return SCENARIOS[name]


def with_scenario(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment's ``arguments`` with what their ``scenario`` adds to them, and without that key.

    A given ``npu`` takes the place of the scenario's ``npus`` too; of a ``workload`` that is a mapping each field does, and of its
    ``arrivals`` each field unless they name another process. A ``mix`` takes the place of the short form, a file of
    requests that of ``horizon_requests``.
    """
    given = dict(arguments)
    if "scenario" not in given:
        return given
    base = dict(scenario_of(given.pop("scenario")).arguments)
    if "npu" in given and "npus" not in given:
        base.pop("npus", None)
    workload = given.get("workload")
    if isinstance(workload, Mapping) and "preset" not in workload:
        given["workload"] = _merged(base.get("workload", {}), workload)
        if isinstance(workload.get("arrivals"), Mapping) and workload["arrivals"].get("process") == "trace":
            base.pop("horizon_requests", None)  # the file says how many there are
    return {**base, **given}


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``base`` with those of ``given`` in their place."""
    kept = {key: value for key, value in base.items() if key != "sla" or given.get("mix") is None}
    arrivals, own = base.get("arrivals"), given.get("arrivals")
    if isinstance(own, Mapping) and isinstance(arrivals, Mapping):
        same = own.get("process", arrivals["process"]) == arrivals["process"]
        rate = ("utilisation", "requests_per_second")
        left = {key: value for key, value in arrivals.items() if not (key in rate and any(name in own for name in rate))}
        own = {**left, **own} if same else own
        return {**kept, **given, "arrivals": own}
    return {**kept, **given}
