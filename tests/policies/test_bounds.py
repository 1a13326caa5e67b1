"""The clairvoyant bound: hand-computed, exact for the relaxed problem, and below every schedule there is."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from baselines.evaluation.bounds import antt_bound, weighted_antt_bound
from prema_gym.errors import ConfigError

FAR = 1 << 62


def random_instance(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return arrivals, isolated times and priorities of up to four small tasks."""
    n = int(rng.integers(1, 5))
    arrivals = np.sort(rng.integers(0, 8, n))
    return tuple(arrivals.tolist()), tuple(rng.integers(1, 6, n).tolist()), tuple(rng.choice([1, 3, 9], n).tolist())


def cheapest(arrivals, isolated, slice_cost, end_cost) -> float:
    """Search every preemptive schedule in unit slots (idling allowed) for the smallest sum of costs.

    ``slice_cost(i, t)`` is paid for running task i over [t, t + 1], ``end_cost(i, t)`` when it completes at t.
    """

    @functools.cache
    def best(now: int, remaining: tuple[int, ...]) -> float:
        if not any(remaining):
            return 0.0
        # Idling past the last arrival never helps; before it, it is tried like any task.
        options = [best(now + 1, remaining)] if now < max(arrivals) else []
        for i, left in enumerate(remaining):
            if left and arrivals[i] <= now:
                after = (*remaining[:i], left - 1, *remaining[i + 1 :])
                paid = slice_cost(i, now) + (end_cost(i, now + 1) if left == 1 else 0.0)
                options.append(paid + best(now + 1, after))
        return min(options)

    return best(0, isolated)


def smallest_weighted_antt(arrivals, isolated, priorities) -> float:
    total = sum(priorities)
    return cheapest(arrivals, isolated, lambda i, t: 0.0, lambda i, t: priorities[i] / total * (t - arrivals[i]) / isolated[i])


def smallest_relaxed(arrivals, isolated, priorities) -> float:
    total = sum(priorities)
    weights = [p / (total * length) for p, length in zip(priorities, isolated, strict=True)]
    constant = sum(w * (length / 2 - a) for w, length, a in zip(weights, isolated, arrivals, strict=True))
    return constant + cheapest(arrivals, isolated, lambda i, t: weights[i] / isolated[i] * (t + 0.5), lambda i, t: 0.0)


def by_priority_list(arrivals, isolated, priorities) -> float:
    """Smallest weighted ANTT over all priority lists, played preemptively: exact, in continuous time."""
    best = np.inf
    for order in itertools.permutations(range(len(arrivals))):
        busy: list[tuple[int, int]] = []  # stretches taken by tasks earlier in the list
        total = 0.0
        for i in order:
            left, now = isolated[i], arrivals[i]
            for start, stop in [*sorted(busy), (FAR, FAR)]:
                run = min(left, max(start - now, 0))
                if run:
                    busy.append((now, now + run))
                    left, now = left - run, now + run
                if not left:
                    break
                now = max(now, stop)
            total += priorities[i] * (now - arrivals[i]) / isolated[i]
        best = min(best, total / sum(priorities))
    return best


def test_a_lone_task_is_bounded_by_its_isolated_time():
    assert weighted_antt_bound([0], [123_456_789], [9]) == pytest.approx([1.0], abs=1e-12)


def test_two_tasks_by_hand():
    # Lengths 10 and 2, the short one arriving at 4: weights (1/2)/10 and (1/2)/2, so it preempts and runs over [4, 6].
    # M of the long one: (4 * 2 + 6 * 9) / 10 = 6.2; of the short one 5. Bound = 0.05 * (6.2 + 5) + 0.25 * (5 + 1 - 4) = 1.06.
    # The schedule itself has (12 / 10 + 2 / 2) / 2 = 1.1.
    assert antt_bound([0, 4], [10, 2]) == pytest.approx([1.06], abs=1e-12)
    assert smallest_weighted_antt((0, 4), (10, 2), (1, 1)) == pytest.approx(1.1, abs=1e-12)


def test_priorities_decide_who_goes_first():
    # Two tasks of 2 at 0; the one of priority 9 runs first. M = 1 and 3, w = 9/20 and 1/20: 0.45 * 2 + 0.05 * 4 = 1.1.
    assert weighted_antt_bound([0, 0], [2, 2], [1, 9]) == pytest.approx([1.1], abs=1e-12)


def test_it_equals_the_cheapest_of_all_relaxed_schedules():
    rng = np.random.default_rng(1)
    for _ in range(60):
        arrivals, isolated, priorities = random_instance(rng)
        assert weighted_antt_bound(arrivals, isolated, priorities)[0] == pytest.approx(
            smallest_relaxed(arrivals, isolated, priorities), abs=1e-9
        )


def test_no_schedule_of_up_to_four_tasks_beats_it():
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(60):
        arrivals, isolated, priorities = random_instance(rng)
        least = smallest_weighted_antt(arrivals, isolated, priorities)
        assert by_priority_list(arrivals, isolated, priorities) == pytest.approx(least, abs=1e-9)
        bound = weighted_antt_bound(arrivals, isolated, priorities)[0]
        assert bound <= least + 1e-12
        gaps.append(least - bound)
    assert min(gaps) < 1e-9  # reached somewhere, so it cannot be raised


def test_no_schedule_of_four_long_tasks_beats_it():
    rng = np.random.default_rng(3)
    for _ in range(500):
        n = int(rng.integers(2, 5))
        isolated = np.exp(rng.uniform(np.log(1e5), np.log(1e9), n)).astype(np.int64)
        arrivals = (rng.uniform(0, 0.5 * isolated.sum(), n)).astype(np.int64)
        priorities = rng.choice([1, 3, 9], n)
        least = by_priority_list(arrivals.tolist(), isolated.tolist(), priorities.tolist())
        assert weighted_antt_bound(arrivals, isolated, priorities)[0] <= least * (1 + 1e-12)


def test_episodes_are_independent_rows():
    arrivals, isolated, priorities = [[0, 4], [0, 0]], [[10, 2], [2, 2]], [[1, 1], [1, 9]]
    assert weighted_antt_bound(arrivals, isolated, priorities) == pytest.approx([1.06, 1.1], abs=1e-12)


@pytest.mark.parametrize(
    ("arrivals", "isolated", "priorities", "message"),
    [
        ([0, -1], [1, 1], [1, 1], "arrival_cycles"),
        ([0, 1], [1, 0], [1, 1], "isolated_cycles"),
        ([0, 1], [1.5, 1], [1, 1], "isolated_cycles"),
        ([0, 1], [1, 1], [1, 1, 1], "must agree"),
        ([], [], [], "arrival_cycles"),
    ],
)
def test_bad_input_is_one_clear_error(arrivals, isolated, priorities, message):
    with pytest.raises(ConfigError, match=message):
        weighted_antt_bound(arrivals, isolated, priorities)
