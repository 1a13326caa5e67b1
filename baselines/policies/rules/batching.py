"""Rules for requests that run together: whose batch is worth most, and how long to wait for a fuller one.

What would run if a slot were dispatched now is in ``seen.batches`` (types.py, BATCH): its samples, its predicted time, the sum over
its members of priority / predicted time, its oldest arrival and earliest deadline. Where requests run one by one
(``batching=1``) a task is a batch of its own, and nobody waits.
"""

from __future__ import annotations

import numpy as np

from baselines.policies.rules.rule import NETWORKS, SelectionRule, remaining_cycles
from prema_gym._jit import jit_borrowing
from prema_gym.envs.observation import would_remain
from prema_gym.sim.borrow import borrowed
from prema_gym.types import NONE, RUNNING

NETWORK = np.dtype([("delay_cycles", np.float64), ("samples", np.float64)], align=True)
"""How long the requests of a network wait for more of their kind: until the oldest has waited so long, or they are so many."""
_networks = borrowed(NETWORK, 1)


@jit_borrowing
def batch_remaining_cycles(seen, slot):
    """Return the predicted remaining cycles of what would run, or runs, if ``slot`` were dispatched now."""
    if seen.batches.shape[0] == 0:
        return remaining_cycles(seen, slot)
    return would_remain(seen.batches[slot], seen.table[slot].executed_cycles)


@jit_borrowing
def batch_weight(seen, slot):
    """Return the sum of priority / predicted time on the fastest NPU over those that would run together."""
    if seen.batches.shape[0] == 0:
        return seen.table[slot].priority / seen.table[slot].fastest_predicted_cycles
    return seen.batches[slot].would_weight


@jit_borrowing
def least_batch_density(seen, slot, shared, params):
    """Return minus the weight of the batch over its remaining time."""
    return -batch_weight(seen, slot) / batch_remaining_cycles(seen, slot)


@jit_borrowing
def least_powered_density(seen, slot, shared, params):
    """Return minus the weight of the batch over a power of its remaining time."""
    return -batch_weight(seen, slot) / batch_remaining_cycles(seen, slot) ** params.length_power


@jit_borrowing
def has_begun(task):
    """Whether a task runs or has progress: there is nothing to wait for then."""
    return task.state == RUNNING or task.executed_cycles > 0


@jit_borrowing
def is_full(seen, slot):
    """Whether the batch that would run has as many samples as are allowed."""
    return seen.batches[slot].would_samples >= seen.rules.batching


@jit_borrowing
def waited_cycles(seen, slot):
    """Return how long the oldest of those that would run together has waited."""
    return seen.npu.clock_cycles - seen.batches[slot].would_oldest_cycles


@jit_borrowing
def after_a_delay(seen, slot, params):
    """Whether the batch is full, or its oldest request has waited for ``delay_ms``."""
    if seen.batches.shape[0] == 0 or has_begun(seen.table[slot]) or is_full(seen, slot):
        return True
    return waited_cycles(seen, slot) >= params.delay_ms * 1e-3 * seen.rules.clock_hz


@jit_borrowing
def due_cycles(seen, slot, params):
    """Return when the batch has to be done: at its earliest deadline, else ``sla`` predicted times after its oldest arrival."""
    batch = seen.batches[slot]
    if batch.would_deadline_cycles != NONE:
        return float(batch.would_deadline_cycles)
    return batch.would_oldest_cycles + params.sla * seen.table[slot].fastest_predicted_cycles


@jit_borrowing
def before_it_is_late(seen, slot, params):
    """Whether the batch is full, or would be late if it waited for a quantum more."""
    if seen.batches.shape[0] == 0 or has_begun(seen.table[slot]) or is_full(seen, slot):
        return True
    done = seen.npu.clock_cycles + seen.rules.quantum_cycles + batch_remaining_cycles(seen, slot)
    return done > due_cycles(seen, slot, params)


@jit_borrowing
def by_its_network(seen, slot, params):
    """Whether the batch has the samples that its network waits for, or its oldest request has waited for its network's delay."""
    if seen.batches.shape[0] == 0 or has_begun(seen.table[slot]) or is_full(seen, slot):
        return True
    known = _networks(params.networks_at, (params.networks,))
    network = known[min(seen.batches[slot].model, params.networks - 1)]
    if seen.batches[slot].would_samples >= network.samples:
        return True
    return waited_cycles(seen, slot) >= network.delay_cycles


_DENSITY = "largest sum over its batch of priority / predicted, over the batch's remaining time"

DENSITY = SelectionRule(
    "DENSITY",
    _DENSITY,
    least_batch_density,
    changes_between_events=False,  # the running batch's density grows; those that wait grow with arrivals only
    source="Ours: WSRPT, Smith 1956, of a batch as of one job.",
)
TIMEOUT = SelectionRule(
    "TIMEOUT",
    f"{_DENSITY}; a batch starts when it is full or its oldest request has waited for delay_ms",
    least_batch_density,
    admits=after_a_delay,
    defaults={"delay_ms": 1.0},
    changes_between_events=False,
    source="The dynamic batcher of inference servers, in DENSITY's order.",
)
LAZY = SelectionRule(
    "LAZY",
    f"{_DENSITY}; a batch starts when it is full or waiting longer would cost its earliest deadline (without one: sla times the "
    "predicted time of the request)",
    least_batch_density,
    admits=before_it_is_late,
    defaults={"sla": 4.0},
    changes_between_events=False,
    source="After Choi, Kim & Rhu, HPCA 2021 (LazyBatching), between whole batches.",
)
BATCH_INDEX = SelectionRule(
    "BATCH-INDEX",
    "largest sum over its batch of priority / predicted, over a power of the batch's remaining time; a batch starts when it has as "
    "many samples as its network waits for, or its oldest request has waited for its network's delay",
    least_powered_density,
    admits=by_its_network,
    defaults={"length_power": 1.0},
    changes_between_events=False,
    knows=NETWORKS,
    source="Ours.",
)
