"""What holds in every episode, whatever the actions: a state machine that plays random ones, and an audit of the event log."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tools import twin
from tools.cases import PER_WORLD, episode

from prema_gym.types import EMPTY, READY, RUNNING

SWITCHING = {"kill", "drain", "commit", "saved", "dispatch"}
METRIC_OF_TERM = {
    "antt": ("antt", -1),
    "weighted_antt": ("weighted_antt", -1),
    "sla": ("sla_violation", -1),
    "stp": ("stp", 1),
    "fairness": ("fairness", 1),
    "fairness_shaped": ("fairness", 1),
    "hp_excess": ("hp_excess", -1),
    "deadline_misses": ("deadline_misses", -1),
    "tardiness": ("tardiness", -1),
    "goodput": ("goodput", 1),
}


def expected_mask(state: np.ndarray, mechanisms: tuple[str, ...]) -> list[int]:
    """Return the mask that the states of the slots call for: keep, then per slot the mechanisms; an idle NPU has the first."""
    busy = RUNNING in state
    mask = [int(busy)]
    for slot in state:
        mask += [int(slot == READY and (busy or column == 0)) for column in range(len(mechanisms))]
    return mask


def audit(events: list[dict[str, Any]], tasks: list[dict[str, Any]], latency: int) -> None:
    """Follow the log: one task at a time, drains undisturbed, completed tasks have run their isolated time since the last kill."""
    executed = [0] * len(tasks)
    holder: int | None = None
    draining: int | None = None
    started: int | None = None
    for event in events:
        name, task, cycle = event["event"], event["task"], event["cycle"]
        if draining is not None:
            assert name in {"arrival", "completion"}, f"{name} interrupts a drain"
        if name == "dispatch":
            assert holder is None
            holder, started = task, None
        elif name == "run":
            assert holder == task
            started = cycle if started is None else started
        elif name == "stall" and started is not None:
            started += latency
        elif name == "drain":
            draining = task
        elif name in {"commit", "completion", "kill"}:
            assert holder == task
            assert started is not None
            executed[task] = 0 if name == "kill" else executed[task] + cycle - started
            if name == "completion":
                assert draining in {None, task}
                assert executed[task] == tasks[task]["isolated_cycles"]
            holder = draining = None


class AnyEpisode(RuleBasedStateMachine):
    """Plays an episode of a random world, now and then with an illegal action."""

    env: Any = None
    over = True

    @initialize(number=st.integers(min_value=0, max_value=10**6))
    def first_episode(self, number: int) -> None:
        self._begin(number)

    @precondition(lambda self: self.over)
    @rule(number=st.integers(min_value=0, max_value=10**6))
    def next_episode(self, number: int) -> None:
        self._begin(number)

    def _begin(self, number: int) -> None:
        self.env, self.place = twin.environment(number // PER_WORLD)
        _, info = self.env.reset(options={"trace": episode(number, self.place).trace})
        self.mask = info["action_mask"].tolist()
        self.over = False
        self.clock = 0
        self.tokens: dict[int, tuple[float, float]] = {}
        self.sums = dict.fromkeys(METRIC_OF_TERM, 0.0)

    def _step(self, action: int) -> tuple[bool, list[dict[str, Any]]]:
        """Play ``action``; return whether it was flagged as illegal, and the new events."""
        before = len(self.env.events())
        _, _, terminated, truncated, info = self.env.step(action)
        self.mask = info["action_mask"].tolist()
        self.over = terminated or truncated
        for name, value in info["reward_terms"].items():
            self.sums[name] += value
        if self.over:
            self._rewards_sum_to_metrics(info["metrics"])
        return info["illegal_action"], self.env.events()[before:]

    def _pick(self, pick: int, allowed: int) -> int | None:
        actions = [action for action, legal in enumerate(self.mask) if legal == allowed]
        return actions[pick % len(actions)] if actions else None

    @precondition(lambda self: not self.over)
    @rule(pick=st.integers(min_value=0))
    def what_the_mask_allows_is_never_rejected(self, pick: int) -> None:
        action = self._pick(pick, allowed=1)
        assert action is not None
        slots = self.env.view().table[0]
        busy = (slots["state"] == RUNNING).any()
        slot, column = divmod(action - 1, len(self.env.config.mechanisms))
        chosen = int(slots["task"][slot])
        illegal, events = self._step(action)
        assert not illegal
        switched = [event for event in events if event["event"] in SWITCHING]
        if action == 0:
            self._running_task_goes_on(events)
        elif not busy:
            assert (switched[0]["event"], switched[0]["task"]) == ("dispatch", chosen)
        elif self.env.config.mechanisms[column] != "CHECKPOINT":
            assert switched[0]["event"] == self.env.config.mechanisms[column].lower()
        if action > 0:
            assert next(event for event in switched if event["event"] == "dispatch")["task"] == chosen

    @precondition(lambda self: not self.over)
    @rule(pick=st.integers(min_value=0))
    def what_the_mask_forbids_is_never_honoured(self, pick: int) -> None:
        action = self._pick(pick, allowed=0)
        if action is None:
            return
        slots = self.env.view().table[0]
        busy, earliest = (slots["state"] == RUNNING).any(), min(slots["task"][slots["state"] == READY], default=None)
        illegal, events = self._step(action)
        assert illegal
        if busy:
            self._running_task_goes_on(events)
        else:
            assert next(event for event in events if event["event"] in SWITCHING)["task"] == earliest

    @staticmethod
    def _running_task_goes_on(events: list[dict[str, Any]]) -> None:
        """Assert that nothing is switched before a completion."""
        for event in events:
            if event["event"] == "completion":
                return
            assert event["event"] not in SWITCHING

    @invariant()
    def masks_are_never_empty_and_never_wrong(self) -> None:
        if self.env is None:
            return
        assert any(self.mask)
        state = self.env.view().table["state"][0]
        assert self.mask == (
            [1] + [0] * (len(self.env.config.mechanisms) * len(state))
            if self.over
            else expected_mask(state, self.env.config.mechanisms)
        )

    @invariant()
    def time_never_goes_back(self) -> None:
        if self.env is None:
            return
        clock = int(self.env.view().npu["clock_cycles"][0])
        assert clock >= self.clock
        self.clock = clock
        cycles = [event["cycle"] for event in self.env.events()]
        assert cycles == sorted(cycles)
        assert not cycles or cycles[-1] <= clock

    @invariant()
    def every_cycle_is_accounted_for(self) -> None:
        if self.env is None:
            return
        account = twin.account(self.env)
        assert sum(account.values()) == self.env.view().npu["clock_cycles"][0]
        assert min(account.values()) >= 0
        completed = sum(task["isolated_cycles"] for task in self.env.tasks() if task["completion_cycles"] >= 0)
        assert account["useful_cycles"] == completed + self.env.view().table["executed_cycles"][0].sum()

    @invariant()
    def at_most_one_task_runs_and_the_status_says_which(self) -> None:
        if self.env is None:
            return
        view = self.env.view()
        running = np.flatnonzero(view.running[0])
        assert len(running) <= 1
        assert view.npu["running_slot"][0] == (running[0] if len(running) else -1)
        assert view.npu["ready"][0] == view.ready[0].sum()
        arrived = sum(event["event"] == "arrival" for event in self.env.events())
        assert arrived == view.npu["finished"][0] + (view.table["state"][0] != EMPTY).sum()

    @invariant()
    def tokens_never_fall_while_a_task_is_in_the_table(self) -> None:
        if self.env is None:
            return
        slots = self.env.view().table[0]
        present = slots[slots["state"] != EMPTY]
        tokens = {int(slot["task"]): (float(slot["token"]), float(slot["token_whole_wait"])) for slot in present}
        for task, (token, whole) in tokens.items():
            before = self.tokens.get(task, (token, whole))
            assert (token >= before[0], whole >= before[1]) == (True, True)
        assert (present["token"] >= present["priority"]).all()
        self.tokens = tokens

    @invariant()
    def the_log_is_sound(self) -> None:
        if self.env is not None:
            audit(self.env.events(), self.env.tasks(), self.env.config.scheduler_latency_cycles)

    @invariant()
    def observations_stay_within_their_bounds(self) -> None:
        if self.env is not None:
            assert self.env.observation_space.contains(self.env.view().observation[0])

    def _rewards_sum_to_metrics(self, metrics: dict[str, Any]) -> None:
        for term, (metric, sign) in METRIC_OF_TERM.items():
            assert abs(self.sums[term] - sign * metrics[metric]) < 1e-9, term

    def teardown(self) -> None:
        """Play the episode to its end: whatever came before, keeping on completes every task."""
        if self.env is None:
            return
        while not self.over:
            self._step(0 if self.mask[0] else self.mask.index(1))
        tasks = self.env.tasks()
        audit(self.env.events(), tasks, self.env.config.scheduler_latency_cycles)
        if all(task["completion_cycles"] >= 0 for task in tasks):
            assert twin.account(self.env)["useful_cycles"] == sum(task["isolated_cycles"] for task in tasks)


TestAnyEpisode = AnyEpisode.TestCase
TestAnyEpisode.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
