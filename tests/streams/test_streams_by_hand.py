"""Small streams whose every event was computed on paper, on the reference, which the kernel is held to in test_streams.py.

``long`` takes 1000 cycles on ``fast`` NPUs, ``short`` 300; both have a preemption point every 100 cycles, and saving or restoring a
context costs 100. A request that finds no slot free waits in the backlog: it is logged as an arrival when it enters the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from reference import stream_worth
from reference.machine import Machine
from reference.parts import WAITING
from reference.player import Arrival, tasks_of
from tools.several_npus import FAST, KEEP, drain, give, setup

Log = list[tuple[int, str, int, int]]


def stream(trace: Sequence[Arrival], *, slots: int, npus: int = 1) -> Machine:
    """Return a stream of exactly ``trace``, whose last arrival is the horizon, at its first decision."""
    machine = setup(*[FAST] * npus, slots=slots, horizon_requests=len(trace))
    return Machine(machine.rules, tasks_of(trace, machine))


def log(machine: Machine) -> Log:
    """Return (cycle, event, slot, task)."""
    return [(event.cycle, event.event, event.slot, event.task) for event in machine.log]


def test_a_full_table_lets_the_backlog_in_first_come_first_served() -> None:
    # Two slots, and a backlog of two: the short ones of cycles 20 and 30 enter as the first two complete, at 300 and 600.
    machine = stream([Arrival(at, "short") for at in (0, 10, 20, 30, 2000)], slots=2)
    machine.step(give(0))
    assert [task.index for task in machine.backlog] == []
    machine.step(KEEP)  # asked at 10, about the second arrival; those of 20 and 30 ask nothing
    assert machine.clock == 300
    assert [task.index for task in machine.backlog] == [3]
    machine.step(give(1))
    assert machine.clock == 600
    machine.step(give(0))
    assert machine.truncated
    assert machine.clock == 2000
    assert log(machine) == [
        (0, "arrival", 0, 0),
        (0, "dispatch", 0, 0),
        (0, "run", 0, 0),
        (10, "arrival", 1, 1),
        (300, "completion", 0, 0),
        (300, "arrival", 0, 2),
        (300, "dispatch", 1, 1),
        (300, "run", 1, 1),
        (600, "completion", 1, 1),
        (600, "arrival", 1, 3),
        (600, "dispatch", 0, 2),
        (600, "run", 0, 2),
        (900, "completion", 0, 2),
        (900, "dispatch", 1, 3),
        (900, "run", 1, 3),
        (1200, "completion", 1, 3),
        (2000, "arrival", 0, 4),
    ]


def test_waits_and_tokens_run_from_the_true_arrival() -> None:
    machine = stream([Arrival(0, "short"), Arrival(100, "short", 3), Arrival(5000, "short")], slots=1)
    machine.step(give(0))
    assert machine.clock == 5000  # with one slot there is never a choice
    first, second, _ = machine.tasks
    assert (first.waited_before, second.waited_before) == (0, 200)
    assert second.entered == 300
    assert second.token == pytest.approx(3 + 3 * 200 / 300)


def test_arriving_into_the_backlog_asks_nothing_and_moves_no_token() -> None:
    machine = stream([Arrival(0, "long"), Arrival(10, "short"), Arrival(500, "short"), Arrival(9000, "short")], slots=2)
    machine.step(give(0))
    machine.step(KEEP)
    assert machine.clock == 1000  # not 500: the arrival there finds both slots taken
    assert machine.causes == {"completion", "arrival"}
    waiting = next(task for task in machine.tasks if task.state == WAITING)
    assert waiting.token == pytest.approx(1 + 990 / 300)


def test_at_one_cycle_a_completion_frees_the_slot_the_backlog_takes_it_and_an_arrival_joins_the_backlog() -> None:
    machine = stream([Arrival(0, "short"), Arrival(100, "short"), Arrival(300, "short"), Arrival(2000, "short")], slots=1)
    machine.step(give(0))
    assert log(machine)[3:7] == [(300, "completion", 0, 0), (300, "arrival", 0, 1), (300, "dispatch", 0, 1), (300, "run", 0, 1)]
    assert log(machine)[7:9] == [(600, "completion", 0, 1), (600, "arrival", 0, 2)]


def test_within_a_switch_the_backlog_enters_when_the_slot_is_free_and_behind_the_dispatch() -> None:
    # A drain committed at 10 completes the first task at 300. The second runs at once; then the third enters, from the backlog.
    machine = stream([Arrival(0, "short"), Arrival(10, "short"), Arrival(20, "short"), Arrival(2000, "short")], slots=2)
    machine.step(give(0))
    machine.step(drain(1))
    assert log(machine)[4:] == [
        (10, "drain", 0, 0),
        (300, "completion", 0, 0),
        (300, "dispatch", 1, 1),
        (300, "run", 1, 1),
        (300, "arrival", 0, 2),
    ]
    assert machine.causes == {"completion", "arrival"}


def test_the_horizon_truncates_before_asking_and_what_waits_counts_so_far() -> None:
    # At the fourth arrival the first runs, the second waits in the table, the third in the backlog; nothing is asked at 200.
    trace = [Arrival(0, "long"), Arrival(50, "short"), Arrival(100, "short"), Arrival(200, "short")]
    machine = stream(trace, slots=2)
    machine.step(give(0))
    machine.step(KEEP)
    assert machine.truncated
    assert machine.clock == 200
    assert [task.index for task in machine.backlog] == [2, 3]
    metrics = stream_worth.metrics(machine)
    # The cohort are the requests from 0.4 to 3.2: numbers 1, 2 and 3, of ages 150, 100 and 0, none finished.
    assert metrics["antt"] == pytest.approx((150 + 100 + 0) / 300 / 3)
    assert metrics["unfinished_share"] == 1.0
    assert metrics["wait_ms"] == pytest.approx((150 + 100 + 0 - 900) / 3)
    assert metrics["queue_length"] == pytest.approx((150 + 100) / 200)
    assert metrics["antt_all"] == pytest.approx(200 / 1000 + 150 / 300 + 100 / 300)


def test_two_npus_share_table_and_backlog() -> None:
    # Both NPUs complete at 300. Their slots go to the backlog in order, and each NPU takes one.
    trace = [Arrival(0, "short"), Arrival(0, "short"), Arrival(10, "short"), Arrival(20, "short"), Arrival(3000, "short")]
    machine = stream(trace, slots=2, npus=2)
    while not machine.over:
        machine.step(machine.mask().index(1, 1))  # the first task that can be taken
    assert [event for event in log(machine) if event[1] == "arrival"] == [
        (0, "arrival", 0, 0),
        (0, "arrival", 1, 1),
        (300, "arrival", 0, 2),
        (300, "arrival", 1, 3),
        (3000, "arrival", 0, 4),
    ]
    assert [(event.cycle, event.npu) for event in machine.log if event.event == "completion"] == [
        (300, 0), (300, 1), (600, 0), (600, 1),
    ]  # fmt: skip


def test_the_rewards_of_a_stream_sum_to_what_all_requests_cost() -> None:
    trace = [Arrival(0, "long"), Arrival(50, "short", 9), Arrival(100, "short"), Arrival(150, "short", 3), Arrival(2500, "short")]
    machine = stream(trace, slots=2)
    total: dict[str, float] = {}
    first = True
    while not machine.over:
        start = machine.clock
        machine.step(machine.mask().index(1))
        terms = stream_worth.reward_terms(machine, start, first=first)
        total = {name: total.get(name, 0.0) + value for name, value in terms.items()}
        first = False
    metrics = stream_worth.metrics(machine)
    for name in ("antt", "weighted_antt", "stp", "hp_excess", "deadline_misses", "tardiness", "goodput"):
        assert abs(total[name]) == pytest.approx(metrics[f"{name}_all"])
    assert -total["sla"] == pytest.approx(metrics["sla_violation_all"])
