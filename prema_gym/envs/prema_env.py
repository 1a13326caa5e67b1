"""``Prema-v0``: the environment of a row of NPUs, of one unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from prema_gym.checks import as_whole, checked_seed
from prema_gym.envs.core import Core, check_options
from prema_gym.envs.limit import checked_limit, cut_rows, least, limit_around
from prema_gym.envs.observation import Layout
from prema_gym.envs.requests import completed_requests
from prema_gym.envs.reward import REWARD_TERMS
from prema_gym.envs.state import EnvState, check_state, over, put, take, twin_of
from prema_gym.envs.step import step_one
from prema_gym.envs.view import View
from prema_gym.errors import ActionError, ConfigError, UsageError, shown
from prema_gym.types import ASKING, EVENT_NAMES

if TYPE_CHECKING:
    from prema_gym.rendering.live.screen import Screen
    from prema_gym.rendering.recording import Recording

LOG_ENTRIES = 4096
"""Events that the compiled log holds before they are moved to Python."""
_SMALL_PART = 256
"""Events that a state copies: parts of the log that are larger are shared."""
_FIRST_ROW = np.ones(1, np.bool_)
_ROW = np.zeros(1, np.intp)


class PremaEnv(gym.Env[np.ndarray, np.int64]):
    """A preemptible NPU shared by DNN inference tasks; the agent schedules and preempts.

    ## Description
    A cloud server time-shares one systolic-array NPU among inference tasks of different networks, batch sizes and priorities that
    arrive over time (Choi & Rhu, "PREMA", HPCA 2020). Whenever a task arrives or completes, and with ``decision_every=1``
    whenever a 0.25 ms quantum expires while tasks wait, the agent may give the NPU to another task, and chooses how the running one
    is evicted.

    With ``npus=["prema", "prema", "edge"]`` several NPUs share the tasks. They are asked one by one: an action is for the NPU that
    ``info["npu"]`` names, and decisions at one moment follow each other in steps that take no time.

    ## Action Space
    ``Discrete(1 + M * T)`` for T slots and M allowed mechanisms, by default all three. Action 0 keeps the running task. Action
    ``1 + M * slot + mechanism`` gives the NPU to the task in ``slot``: by CHECKPOINT (0: the running operation commits, its context
    is saved), KILL (1: its progress is dropped) or DRAIN (2: it completes first; nothing is asked in between). On an idle NPU only
    the first column is legal; it dispatches.
    ``info["action_mask"]`` (int8) and :meth:`action_masks` (bool) mark the legal actions. An illegal one is replaced by keep (on an
    idle NPU by the earliest ready task) and flagged in ``info["illegal_action"]``; with ``strict=True`` it raises.

    ## Observation Space
    ``Box`` of float32, flat, feature by feature: 15 of all T slots, then 9 of the row. All are functions of what a scheduler may
    know; :data:`prema_gym.envs.observation.BLOCKS` lists meaning, scale and clip of each, and :attr:`layout` says where it lies.
    Feature ``i`` of slot ``s`` is element ``i * T + s``. Several NPUs, deadlines and streams add features behind these.

    | Number | Feature of a slot             | Number | Feature of the row              |
    |--------|-------------------------------|--------|---------------------------------|
    | 0 to 2 | present, ready, running       | 0      | log predicted work              |
    | 3      | rank of the priority          | 1      | log time since switch           |
    | 4, 5   | executed / predicted, overrun | 2      | log time since arrival          |
    | 6      | output length is estimated    | 3      | ready share                     |
    | 7      | saved context, DMA time       | 4, 5   | finished tasks: min, max log PP |
    | 8, 9   | log priority, log token       | 6 to 8 | cause: completion, arrival, quantum |
    | 10, 11 | log elapsed, waited / predicted |      |                                 |
    | 12, 13 | log predicted total, remaining |       |                                 |
    | 14     | log projected NTT             |        |                                 |

    ## Rewards
    ``reward=`` names a term or maps terms to weights; the default ``"weighted_antt"`` is minus the growth of the priority-weighted
    average normalized turnaround time. Every term sums over an episode to its metric; see :mod:`prema_gym.envs.reward`.

    ## Starting State
    The first task has arrived at cycle 0 on an idle NPU, and a decision is asked. ``reset(seed=s)`` plays an episode that s fixes
    entirely; resets without a seed play its successors. ``options={"trace": [...]}`` plays a trace of your own.

    ## Episode End
    Terminated when every task has completed. Truncated at a horizon of 20 times the sum of the isolated times after the last
    arrival, and after ``max_episode_steps``, given here or to ``gym.make``. ``info["metrics"]`` then holds the episode's metrics;
    those of an episode that a limit of steps cuts off are of the tasks that have arrived.

    ## Arguments
    ``npu``, ``workload`` (a preset's name, a mapping of fields, or the dataclass), ``npus`` (a list of NPUs), ``reward``,
    ``mechanisms``, ``slots``, ``decision_every``, ``quantum_cycles``, ``scheduler_latency_cycles``, ``allow_idle``, ``strict``: see
    :class:`prema_gym.config.EnvConfig`.
    ``render_mode``: None, ``"ansi"``, ``"rgb_array"`` or ``"human"`` (a live view in the terminal). An impossible value raises
    :class:`prema_gym.errors.ConfigError`.

    ## Version History
    * v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium declares it so
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 10,
    }

    def __init__(self, *, render_mode: str | None = None, max_episode_steps: int | None = None, **arguments: Any) -> None:
        modes = self.metadata["render_modes"]
        if render_mode is not None and (not isinstance(render_mode, str) or render_mode not in modes):
            raise ConfigError(f"render_mode = {shown(render_mode)}: must be None or one of {modes}.")
        self.render_mode = render_mode
        self._arguments = arguments
        self._most_steps = checked_limit(max_episode_steps)
        self._core = Core(arguments, 1, log_entries=LOG_ENTRIES)
        self._bind()

    @property
    def layout(self) -> Layout:
        """Where every feature of an observation lies: ``observation[env.layout["log_token"]]`` is (T,)."""
        return self._core.layout

    def _bind(self) -> None:
        core = self._core
        self.config = core.config
        self.observation_space = core.observation_space
        self.action_space = core.action_space
        self._observation, self._mask = core.observations[0], core.masks[0]
        self._outcomes, self._weights = core.outcomes, core.weights
        self._reward, self._terms = core.outcomes["reward"], core.outcomes["terms"][0]
        self._terminated, self._truncated = core.outcomes["terminated"], core.outcomes["truncated"]
        self._illegal, self._elapsed = core.outcomes["illegal_action"], core.outcomes["elapsed_cycles"]
        self._ms_per_cycle = 1e3 / core.config.npu.clock_hz
        self._logged = core.simulator.state.machine["events"]
        self._asked_npu = core.simulator.state.status["npu"]
        self._history: list[np.ndarray] = []
        self._dropped = False
        self._screen: Screen | None = None
        self._playing = False
        self._seeded = False
        self._steps, self._limit = 0, self._most_steps

    # --- Gymnasium -----------------------------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see the class docstring. Returns (observation, info)."""
        seed = None if seed is None else checked_seed(seed)
        super().reset(seed=seed)
        core = self._core
        trace = check_options(options).get("trace")
        if seed is not None or not self._seeded:
            core.simulator.seed(0, seed if seed is not None else int(self.np_random.integers(1 << 62)))
            self._seeded = True
        self._history.clear()
        self._dropped = False
        self._playing = False
        self._steps, self._limit = 0, least(self._most_steps, limit_around(self))
        if trace is None:
            core.begin_drawn(_FIRST_ROW)
        else:
            checked = core.check_traces([trace])
            core.hold_traces(checked)
            core.begin_traces({0: checked[0]})
        self._playing = True
        if self._screen is not None:
            self._screen.restart()
        if self.render_mode == "human":
            self.render()
        return self._observation.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Carry out ``action`` and play to the next decision. Returns (observation, reward, terminated, truncated, info)."""
        if not self._playing:
            raise UsageError("step() needs an episode in play: call reset() first, and again after terminated or truncated.")
        action = self._checked(action)
        if self._logged[0] > LOG_ENTRIES // 2:
            self._drain_log()
        step_one(self._core.simulator.words, action, self._weights, self._outcomes, self._observation, self._mask)
        self._steps += 1
        if self._limit is not None and self._steps >= self._limit and not (self._terminated[0] or self._truncated[0]):
            cut_rows(self._core.simulator.words, _FIRST_ROW, self._outcomes, self._core.masks)
        info = self._info()
        terminated, truncated = bool(self._terminated[0]), bool(self._truncated[0])
        if terminated or truncated:
            self._playing = False
            info["metrics"] = self._core.metrics_of(0)
        if self.render_mode == "human":
            self.render()
        return self._observation.copy(), float(self._reward[0]), terminated, truncated, info

    def render(self) -> str | np.ndarray | None:
        """Return text ("ansi") or a picture ("rgb_array", (H, W, 3) uint8); under "human" show the live view and return None."""
        if self.render_mode is None:
            gym.logger.warn('render() shows nothing without a render mode: gym.make("Prema-v0", render_mode="ansi").')
            return None
        if self._screen is None:
            from prema_gym.rendering.live.screen import Screen

            self._screen = Screen(self.render_mode, self._core.simulator, self.metadata["render_fps"])
        self._drain_log()
        return self._screen.render(self._history)

    def close(self) -> None:
        """End the live view, if there is one."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    # --- Beyond Gymnasium ----------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """Return what policies may know: a view of one row. Valid until the next step."""
        return self._core.view()

    def action_masks(self) -> np.ndarray:
        """Return the (A,) bool mask of legal actions (sb3-contrib's convention)."""
        return self._mask.astype(np.bool_)

    def get_state(self) -> EnvState:
        """Return what decides how the episode goes on, and the episodes after it: what :meth:`set_state` takes."""
        if not self._seeded:
            raise UsageError("get_state() needs an episode: call reset() first.")
        return self._state()

    def set_state(self, state: EnvState) -> None:
        """Go on from ``state``, of this environment, another one or a row of a vector environment of the same configuration.

        Observation and mask of the moment are in :meth:`view`. The event log goes on from that of the state, which of a row of a
        vector environment is empty. Raises :class:`ConfigError` for anything else.
        """
        self._go_on_from(check_state(state, self._core, 1))
        self._seeded = True

    def clone(self) -> PremaEnv:
        """Return an environment that plays on exactly as this one, and is independent of it: to look ahead with.

        Programs and draws are shared. It shows no live view, and keeps to the limit of steps that a wrapper around this one sets.
        """
        other = twin_of(self)
        other._bind()
        other._go_on_from(self._state())
        other._most_steps, other._seeded = least(self._most_steps, self._limit), self._seeded
        other.render_mode = None if self.render_mode == "human" else self.render_mode
        return other

    def events(self) -> list[dict[str, Any]]:
        """Return the event log of the episode: dicts with ``cycle``, ``event``, ``npu``, ``slot`` and ``task``, in order.

        An arrival has no NPU: -1. Where a single step makes more events than LOG_ENTRIES the rest of them is missing, and a warning
        says so.
        """
        self._drain_log()
        return [
            {
                "cycle": int(entry["cycle"]),
                "event": EVENT_NAMES[entry["event"]],
                "npu": int(entry["npu"]),
                "slot": int(entry["slot"]),
                "task": int(entry["task"]),
            }
            for part in self._history
            for entry in part
        ]

    def tasks(self) -> list[dict[str, Any]]:
        """Return the episode's tasks, in order of arrival, truth included: for analysis, not for policies."""
        simulator = self._core.simulator
        return simulator.describe_tasks(0)

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests of the episode that have arrived, in order of arrival, truth included: for analysis and export.

        Of a closed episode these are its tasks; those of a stream are drawn anew, with the completions that the log has.
        """
        simulator = self._core.simulator
        if not self.config.stream:
            return self.tasks()
        self._drain_log()
        tasks, _ = completed_requests(simulator, self._history)
        return simulator.describe(tasks)

    def recording(self, policy: str = "") -> Recording:
        """Return the present episode, as far as it has been played, as plain data to draw, export or tabulate."""
        from prema_gym.rendering.recording import Recording

        ended = bool(self._terminated[0] or self._truncated[0])
        metrics = self._core.metrics_of(0) if ended else None
        simulator, events = self._core.simulator, self.events()
        requests = completed_requests(simulator, self._history) if self.config.stream else None
        return Recording.of_simulator(simulator, events, policy=policy, metrics=metrics, requests=requests)

    def save_trace(self, path: str | Path) -> None:
        """Write the present episode, as far as it has been played, for https://ui.perfetto.dev."""
        self.recording().save_trace(path)

    # --- Inside --------------------------------------------------------------------------------------------------------------

    def _checked(self, action: Any) -> int:
        index = as_whole(action)
        if index is None or not 0 <= index < self._core.num_actions:
            raise ActionError(f"action = {shown(action)}: must be a whole number from 0 to {self._core.num_actions - 1}.")
        if self.config.strict and not self._mask[index]:
            legal = ", ".join(str(i) for i in np.flatnonzero(self._mask))
            raise ActionError(f"action = {index}: illegal here. Legal: {legal}.")
        return index

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._mask.copy(),
            "reward_terms": dict(zip(REWARD_TERMS, self._terms.tolist(), strict=True)),
            "elapsed_ms": float(self._elapsed[0]) * self._ms_per_cycle,
            "illegal_action": bool(self._illegal[0]),
            "npu": int(self._asked_npu[0]),
        }

    def _drain_log(self) -> None:
        state = self._core.simulator.state
        if self._logged[0] == LOG_ENTRIES and not self._dropped:
            self._dropped = True
            gym.logger.warn(f"the event log is full: a step made more than {LOG_ENTRIES} events, and the rest is missing.")
        if self._logged[0] > 0:
            self._history.append(state.log[0, : self._logged[0]].copy())
            self._logged[0] = 0

    def _state(self) -> EnvState:
        return take(
            self._core, slice(0, 1), mode=None, limit=self._limit, playing=self._playing,
            steps=np.array([self._steps]), turns=((),), history=self._log_so_far(), log_dropped=self._dropped,
        )  # fmt: skip

    def _go_on_from(self, state: EnvState) -> None:
        put(self._core, state, _ROW, {})
        self._history, self._dropped = list(state.history), state.log_dropped
        self._steps, self._limit = int(state.steps[0]), state.limit
        self._playing = state.playing and not over(state)[0]
        if self._screen is not None:
            self._screen.restart()

    def _log_so_far(self) -> tuple[np.ndarray, ...]:
        """Return the event log in parts, of which no step changes one."""
        if self._logged[0] > _SMALL_PART:
            self._drain_log()
        history, count = self._history, int(self._logged[0])
        if count == 0:
            return tuple(history)
        latest = self._core.simulator.state.log[0, :count].copy()
        if history and len(history[-1]) + count <= _SMALL_PART:
            return (*history[:-1], np.concatenate((history[-1], latest)))
        return (*history, latest)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not isinstance(value, np.ndarray) and key != "_screen"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        playing, seeded, history, steps = state["_playing"], state["_seeded"], state["_history"], state["_steps"]
        limit = state["_limit"]
        self.__dict__.update(state)
        self._bind()
        self._playing, self._seeded, self._history, self._steps, self._limit = playing, seeded, history, steps, limit


assert ASKING == 0  # a fresh outcome record must not read as an ended episode
