"""What can be changed, and what its mutants are put to: games, in which the kernel plays beside the reference, and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """What mutants of a module are put to, in this order."""

    games: tuple[str, ...] = ()
    """Names in GAMES."""
    tests: tuple[str, ...] = ()
    """Of the folder ``tests``, as pytest takes them."""
    skipped: tuple[str, ...] = ()
    """Those among them that take minutes where the code runs interpreted."""


SIMULATOR = Plan(
    games=("episodes",),
    tests=(
        "sim/test_hand_solved.py",
        "envs/test_reward_and_metrics.py",
        "sim/test_simulator.py",
        "sim/test_differential.py::test_rows_of_a_vector_play_what_the_reference_plays",
    ),
    skipped=("sim/test_simulator.py::test_a_trace_keeps_the_output_lengths_that_it_gives",),
)
"""Of the machine with one NPU, and of what it is worth."""
SHARED = replace(SIMULATOR, games=("episodes", "several", "streams"))
"""Of the rooms that one NPU plays in and others too: several NPUs, batches, streams."""
OWNER = replace(SHARED, tests=(*SIMULATOR.tests, "streams/test_streams.py", "envs/test_state_moved.py"))
"""Of what owns the arrays of all of them."""
TWO_BY_HAND = ("sim/test_two_npus_by_hand.py", "sim/test_two_npus_unlike.py", "sim/test_two_npus_timed.py")
BATCHES_BY_HAND = tuple(f"batching/test_{name}_by_hand.py" for name in ("batching", "preempted_batches", "waiting"))
ON_ONE = ("sim/test_hand_solved.py", "sim/test_golden_episodes.py::test_both_drivers_play_a_few_of_them_alike")
SEVERAL = Plan(games=("several", "streams"), tests=(*ON_ONE, *TWO_BY_HAND, *BATCHES_BY_HAND))
"""Of the driver of several NPUs, which plays batches and streams too."""
LEVELS = Plan(SEVERAL.games, ("workloads/test_levels.py", "sim/test_hand_solved.py"))
BATCHES = Plan(games=("several", "streams"), tests=BATCHES_BY_HAND)
STREAMS = Plan(
    games=("streams",),
    tests=("streams/test_streams_by_hand.py", "streams/test_traces_at_reset.py", "streams/test_streams.py"),
)
"""Of requests that come and go: the backlog, the cohort that is measured, lists and files."""
ARRIVALS = Plan(("streams", "episodes"), STREAMS.tests)
"""Of what stands between the machine and its requests: a stream, or the tasks of a closed episode."""
DRAWN = "workloads/test_drawing.py"
DRAWING = Plan(
    tests=(
        *(f"{DRAWN}::test_{what}_are_those_of_plain_python" for what in ("episode_seeds", "arrivals_over_a_window", "requests")),
        f"{DRAWN}::test_arrivals_at_a_rate_are_those_of_plain_python",
        f"{DRAWN}::test_arrivals_in_bursts_are_those_of_plain_python",
        f"{DRAWN}::test_predictions_are_those_of_plain_python",
        f"{DRAWN}::test_a_drawn_request_takes_as_long_as_its_own_output",
        "streams/test_traces_at_reset.py::test_a_listed_deadline_counts_from_the_arrival_by_the_prediction_or_is_as_given",
        f"{DRAWN}::test_deadlines_count_from_the_arrival_by_the_class",
        f"{DRAWN}::test_no_two_of_split_seed_row_and_episode_share_a_seed",
    ),
    games=("streams",),
)
"""Of what an episode draws: a twin in plain Python, and streams, a third of which are given as lists and files."""
SHOWN = (
    "envs/test_observation_groups.py",
    "envs/test_observation.py::test_an_empty_slot_shows_nothing",
    "envs/test_observation.py::test_features_are_named_once_and_documented",
)
OBSERVATION = "prema_gym.envs.observation"
SIM = ("tables", "programs", "table", "switch", "straight", "kernel")
"""Rooms of the simulator that one NPU plays in."""
SIM_SEVERAL = ("asking", "events", "phases")
STREAM_ROOMS = ("again", "backlog", "cohort", "lists", "metrics")
_GROUPS: tuple[tuple[Plan, str, tuple[str, ...]], ...] = (
    (SHARED, "prema_gym.sim", SIM),
    (OWNER, "prema_gym.sim", ("simulator",)),
    (SEVERAL, "prema_gym.sim", SIM_SEVERAL),
    (LEVELS, "prema_gym.sim", ("levels",)),
    (BATCHES, "prema_gym.sim", ("batches",)),
    (STREAMS, "prema_gym.sim.streams", STREAM_ROOMS),
    (ARRIVALS, "prema_gym.sim.streams", ("arrivals",)),
    (SIMULATOR, "prema_gym", ("metrics",)),
    (SIMULATOR, "prema_gym.envs", ("reward_terms", "step_reward")),
    (STREAMS, "prema_gym.envs", ("stream_reward",)),
    (Plan(("streams", "episodes"), ("envs/test_reward_and_metrics.py", STREAMS.tests[0])), "prema_gym.sim", ("worth",)),
    (DRAWING, "prema_gym.workloads", ("seeding", "arrivals", "drawing")),
    (Plan(("episodes", "several"), ("envs/test_actions.py",)), "prema_gym.envs", ("actions",)),
    (Plan(("episodes",), SHOWN), OBSERVATION, ("base", "features", "lanes")),
    (Plan(("streams", "several"), SHOWN), OBSERVATION, ("batching", "deadlines", "npus", "streams", "observe")),
)
PLANS = {f"{folder}.{name}": plan for plan, folder, names in _GROUPS for name in names}
"""By module."""
FALLBACK = SIMULATOR
"""Of a module that is not in PLANS."""


# --- Games --------------------------------------------------------------------------------------------------------------------


def _episodes(number: int) -> list[str]:
    from tools.twin import differences

    return differences(number, 1)[0]


def _several(number: int) -> list[str]:
    from tools import duel
    from tools.several_cases import draw_any
    from tools.several_npus import PLAYERS

    return duel.differences(number, 1, PLAYERS["kernel"], PLAYERS["twin"], draw_any)[0]


def _streams(number: int) -> list[str]:
    from streams import random_streams

    return random_streams.differences(number, 1, random_streams.draw_any)[0]


def _by_turns(episodes: int) -> Iterator[int]:
    """Yield the numbers below ``episodes``, worlds by turns: a few episodes each, then a few more."""
    from tools.cases import PER_WORLD

    for start in range(0, PER_WORLD, 3):
        for world in range(0, episodes, PER_WORLD):
            yield from range(world + start, min(world + start + 3, world + PER_WORLD, episodes))


GAMES: dict[str, tuple[Callable[[int], list[str]], Callable[[int], Iterator[int] | range]]] = {
    "episodes": (_episodes, _by_turns),
    "several": (_several, range),
    "streams": (_streams, range),
}
"""What plays a number and returns what differed, and the order of the numbers below a limit, by name."""


def first_difference(game: str, episodes: int, seconds: float) -> str | None:
    """Play until a difference; return it, or None if ``episodes`` numbers or ``seconds`` of computing are used up without one."""
    play, order = GAMES[game]
    deadline = time.process_time() + seconds
    for number in order(episodes):
        found = play(number)
        if found:
            return found[0]
        if time.process_time() > deadline:
            break
    return None
