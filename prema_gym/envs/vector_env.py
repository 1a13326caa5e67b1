"""The native vector environment: n rows stepped by one compiled call, equal to n single environments to the bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from prema_gym.checks import checked_seed, whole
from prema_gym.envs.core import Checked, Core, check_options, own_random, traces_of
from prema_gym.envs.limit import StepLimit, checked_limit, cut_rows
from prema_gym.envs.observation import Layout
from prema_gym.envs.reward import REWARD_TERMS
from prema_gym.envs.state import EnvState, check_mode, check_state, each, put, rows_of, take, twin_of
from prema_gym.envs.step import DISABLED, NEXT_STEP, SAME_STEP, find_bad_action, step_rows
from prema_gym.envs.view import View
from prema_gym.errors import ActionError, ConfigError, UsageError, shown
from prema_gym.metrics import FIRST_TARGET, METRICS
from prema_gym.sim.streams.metrics import stream_metrics_columns
from prema_gym.types import ASKING

_MODES = {AutoresetMode.NEXT_STEP: NEXT_STEP, AutoresetMode.SAME_STEP: SAME_STEP, AutoresetMode.DISABLED: DISABLED}


def _autoreset_mode(given: AutoresetMode | str) -> AutoresetMode:
    allowed = [mode.value for mode in AutoresetMode]
    if isinstance(given, str) and given in allowed:
        return AutoresetMode(given)
    if isinstance(given, AutoresetMode):
        return given
    raise ConfigError(f"autoreset_mode = {shown(given)}: must be an AutoresetMode or one of {allowed}.")


def _parts(rows: int, threads: int) -> list[tuple[int, int]]:
    """Return the ranges of rows that threads step; a part too small to be worth a thread is not split off."""
    count = max(min(threads, rows // ROWS_PER_THREAD), 1)
    edges = [rows * k // count for k in range(count + 1)]
    return list(pairwise(edges))


def metrics_columns(metrics: np.ndarray) -> dict[str, np.ndarray]:
    """Return (n, NUM_METRICS) metrics by name: (n,) float64 arrays, and (n, 19) for ``sla_violation_at``."""
    named = {name: metrics[:, index] for index, name in enumerate(METRICS)}
    return {**named, "sla_violation_at": metrics[:, FIRST_TARGET:]}


MOST_ROWS = 1 << 24
"""Rows that an environment may have, whatever their size."""
ROWS_PER_THREAD = 1024
"""Fewer rows than this are not worth a thread of their own: handing them over takes longer than stepping them."""


class PremaVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """``num_envs`` rows of ``Prema-v0`` (see :class:`prema_gym.envs.prema_env.PremaEnv` for spaces, rewards and arguments).

    Row i behaves as the single environment with seed ``seed + i``. ``autoreset_mode`` is NEXT_STEP (the step after an episode's end
    ignores the row's action, starts its next episode and pays 0), SAME_STEP (the step itself does; ``info["final_obs"]`` and
    ``info["final_info"]`` keep the end) or DISABLED (``reset(options={"reset_mask": mask})`` restarts chosen rows).
    ``info["action_mask"]`` is (n, A) int8, ``info["npu"]`` (n,) int32 which NPU of each row is asked. Steps in which an episode
    ended carry ``info["metrics"]``: float64 arrays, NaN in the other rows. Every array returned is the caller's to keep.
    ``max_episode_steps`` truncates longer episodes, with the metrics of what has arrived.
    ``threads`` may step large batches on several cores: a thread is used for every 1 024 rows, and results don't depend on it.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium declares it so
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    @property
    def layout(self) -> Layout:
        """Where every feature of an observation lies: ``observations[:, env.layout["log_token"]]`` is (n, T)."""
        return self._core.layout

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        split: str = "env",
        threads: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ) -> None:
        num_envs = whole("num_envs", num_envs, 1, MOST_ROWS)
        if render_mode is not None:
            raise ConfigError(f"render_mode = {shown(render_mode)}: must be None; the single environment renders.")
        threads = whole("threads", threads, 1)
        self.num_envs = num_envs
        self._parts = _parts(num_envs, threads)
        self._pool = ThreadPoolExecutor(len(self._parts)) if len(self._parts) > 1 else None
        self.render_mode = None
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self._mode = _MODES[self.autoreset_mode]
        self._core = Core(arguments, num_envs, split=split)
        self.config = self._core.config
        self.single_observation_space = self._core.observation_space
        self.single_action_space = self._core.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ms_per_cycle = 1e3 / self.config.npu.clock_hz
        most = checked_limit(max_episode_steps)
        self._limit = None if most is None else StepLimit(num_envs, most)
        self._seeded = False
        self._playing = False
        self._turns: dict[int, deque[Checked]] = {}
        self._handed_out = False
        self._given: tuple[np.ndarray, np.ndarray] | None = None

    # --- Gymnasium -----------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every row, or in those of ``options["reset_mask"]``; ``seed`` is one for row 0 or one per row."""
        chosen = self._chosen(check_options(options))
        seeds = self._checked_seeds(seed)
        traces = self._checked_traces(options or {}, chosen)
        if isinstance(seeds, int):
            super().reset(seed=seeds)
        self._seed(seeds, chosen)
        self._renew()
        core = self._core
        for row in np.flatnonzero(chosen).tolist():
            self._turns.pop(row, None)
        self._turns |= traces
        core.hold_traces([*(trace for turns in self._turns.values() for trace in turns), *core.simulator.listings(~chosen)])
        core.begin_drawn(np.zeros_like(chosen) if traces else chosen)
        if traces:
            core.begin_traces({row: self._next_trace(row) for row in traces})
        if self._limit is not None:
            self._limit.begin(chosen)
        self._playing = True
        return core.observations, self._info()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Carry out one action per row. Returns (observations, rewards, terminations, truncations, infos)."""
        actions = self._checked(actions)
        core = self._core
        self._renew()
        final = np.empty_like(core.observations) if self._mode == SAME_STEP else core.observations[:0]
        over = core.simulator.state.machine["outcome"] != ASKING if self._turns or self._limit is not None else None
        ended = self._step_rows(actions, final)
        if over is not None and self._limit is not None:
            ended += self._cut(self._limit, over, final)
        if over is not None and self._turns:
            self._play_traces(over)
        info = self._info()
        if ended:
            self._add_end(info, final)
        outcomes = core.outcomes
        return core.observations, outcomes["reward"], outcomes["terminated"], outcomes["truncated"], info

    # --- Beyond Gymnasium ----------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """Return what policies may know of all rows. Valid until the next step."""
        return self._core.view()

    def action_masks(self) -> np.ndarray:
        """Return the (n, A) bool mask of legal actions."""
        return self._core.masks.astype(np.bool_)

    def write_into(self, observations: np.ndarray, masks: np.ndarray) -> None:
        """Have the next step, or reset, write into these C-contiguous arrays: (n, D) float32 and (n, A) int8, not into new ones.

        A rollout's buffer is then filled in place. Raises :class:`ConfigError` for other arrays.
        """
        core = self._core
        for name, given, own in (("observations", observations, core.observations), ("masks", masks, core.masks)):
            fits = isinstance(given, np.ndarray) and given.shape == own.shape and given.dtype == own.dtype
            if not fits or not (given.flags.c_contiguous and given.flags.writeable):
                raise ConfigError(
                    f"write_into({name}=...): must be a writeable C-contiguous array of shape {own.shape} and type {own.dtype}."
                )
        self._given = observations, masks

    def get_state(self, row: int | None = None) -> EnvState:
        """Return what decides how all rows go on, or the given ``row``: what :meth:`set_state` takes."""
        if not self._playing:
            raise UsageError("get_state() needs episodes: call reset() first.")
        return self._state(slice(None) if row is None else slice(row := whole("row", row, 0, self.num_envs - 1), row + 1))

    def set_state(self, state: EnvState, rows: int | Sequence[int] | np.ndarray | None = None) -> None:
        """Let ``rows``, or without them all, go on from ``state``: of as many rows, or of one, which all of them then go on from.

        It may be of another environment of the same configuration, and of a single one. Observations and masks of the moment are in
        :meth:`view`. Raises :class:`ConfigError` for anything else.
        """
        chosen = rows_of(rows, self.num_envs)
        if not self._playing and len(chosen) < self.num_envs:
            raise UsageError("set_state() of some rows needs the others in play: call reset() first.")
        state = check_state(state, self._core, len(chosen))
        check_mode(state, self.autoreset_mode.value, None if self._limit is None else self._limit.most)
        self._go_on_from(state, chosen)
        self._playing = self._seeded = True

    def clone(self) -> PremaVectorEnv:
        """Return an environment whose rows play on exactly as these, and are independent of them. Programs and draws are shared."""
        other = twin_of(self)
        other.single_action_space, other.action_space = other._core.action_space, own_random(self.action_space)
        other._pool = None if self._pool is None else ThreadPoolExecutor(len(self._parts))
        other._turns = {}
        other._limit = None if self._limit is None else StepLimit(self.num_envs, self._limit.most)
        other._go_on_from(self._state(slice(None)), np.arange(self.num_envs))
        return other

    # --- Inside --------------------------------------------------------------------------------------------------------------

    def _step_rows(self, actions: np.ndarray, final: np.ndarray) -> int:
        """Step all rows, on several threads where that was asked for and pays; return how many episodes ended."""
        core = self._core

        def step(part: tuple[int, int]) -> int:
            return step_rows(
                core.simulator.words, *part, actions, core.weights, self._mode, core.split,
                core.outcomes, core.observations, core.masks, final,
            )  # fmt: skip

        return sum(map(step, self._parts) if self._pool is None else self._pool.map(step, self._parts))

    def _cut(self, limit: StepLimit, over: np.ndarray, final: np.ndarray) -> int:
        """Truncate the rows that have reached the limit of steps; return how many these are. ``over``: see :meth:`_play_traces`."""
        core, outcomes = self._core, self._core.outcomes
        ended = outcomes["terminated"] | outcomes["truncated"]
        reached = limit.reached(over, ended)
        if self._mode == SAME_STEP:
            limit.begin(reached | ended)
        if not reached.any():
            return 0
        cut_rows(core.simulator.words, reached, outcomes, core.masks)
        if self._mode == SAME_STEP:
            final[reached] = core.observations[reached]
            core.begin_drawn(reached, np.empty_like(outcomes))  # what the step paid is kept
        return int(reached.sum())

    def _play_traces(self, over: np.ndarray) -> None:
        """Put the next trace into rows that have begun an episode in this step; ``over`` (n,) tells whose had ended before it."""
        core = self._core
        outcomes = core.outcomes
        if self._mode == DISABLED:
            return
        begun = over if self._mode == NEXT_STEP else outcomes["terminated"] | outcomes["truncated"]
        rows = [row for row in np.flatnonzero(begun).tolist() if row in self._turns]
        if not rows:
            return
        core.simulator.state.machine["episode"][rows] -= 1  # the episodes that were drawn are not played
        paid = outcomes.copy()
        core.begin_traces({row: self._next_trace(row) for row in rows})
        outcomes[...] = paid

    def _next_trace(self, row: int) -> Checked:
        """Return the trace whose turn it is in ``row``; after the last comes the first."""
        turns = self._turns[row]
        turns.rotate(-1)
        return turns[-1]

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _state(self, rows: slice) -> EnvState:
        numbers = range(*rows.indices(self.num_envs))
        counted = np.zeros(self.num_envs, np.int64) if self._limit is None else self._limit.steps
        return take(
            self._core, rows, mode=self.autoreset_mode.value, limit=None if self._limit is None else self._limit.most,
            playing=True, steps=counted[rows].copy(), turns=tuple(tuple(self._turns.get(row, ())) for row in numbers),
        )  # fmt: skip

    def _go_on_from(self, state: EnvState, rows: np.ndarray) -> None:
        if self._handed_out:  # what earlier steps returned stays as it was
            core = self._core
            core.observations, core.masks, core.outcomes = core.observations.copy(), core.masks.copy(), core.outcomes.copy()
            self._handed_out = False
        put(self._core, state, rows, self._turns)
        if self._limit is not None:
            self._limit.steps[rows] = state.steps
        for row, turns in zip(rows.tolist(), each(state.turns, len(rows)), strict=True):
            self._turns.pop(row, None)
            if turns:
                self._turns[row] = deque(turns)

    def _renew(self) -> None:
        """Give this step buffers of its own, or those given: what earlier steps returned stays as it was."""
        core = self._core
        given, self._given = self._given, None
        core.observations, core.masks = given or (np.empty_like(core.observations), np.empty_like(core.masks))
        core.outcomes = np.empty(self.num_envs, core.outcomes.dtype)
        self._handed_out = True

    def _chosen(self, options: Any) -> np.ndarray:
        mask = options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ConfigError(f"options['reset_mask'] = {shown(mask)}: must be bools of shape ({self.num_envs},), not all False.")
        return mask

    def _checked_traces(self, options: Mapping[str, Any], chosen: np.ndarray) -> dict[int, deque[Checked]]:
        """Return the checked traces that each of the ``chosen`` rows plays in turn; nothing where ``options`` has none."""
        given = traces_of(options, self.num_envs)
        if given is None:
            return {}
        rows = np.flatnonzero(chosen).tolist()
        checked = iter(self._core.check_traces([trace for row in rows for trace in given[row]]))
        return {row: deque(next(checked) for _ in given[row]) for row in rows}

    def _checked_seeds(self, seed: Any) -> int | list[int | None] | None:
        """Return one seed, or one for each row, or None."""
        if seed is None:
            return None
        if not isinstance(seed, (list, tuple, np.ndarray)) or (isinstance(seed, np.ndarray) and seed.ndim == 0):
            return checked_seed(seed)
        if len(seed) != self.num_envs:
            raise ConfigError(f"seed = {shown(seed)}: must be one number, or one for each of {self.num_envs} rows.")
        return [None if given is None else checked_seed(given, f"seed[{row}]") for row, given in enumerate(seed)]

    def _seed(self, seed: int | list[int | None] | None, chosen: np.ndarray) -> None:
        if seed is None and self._seeded:
            return
        if seed is None:
            seed = int(self.np_random.integers(1 << 62))
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
        for row in np.flatnonzero(chosen).tolist():
            own = seeds[row]
            if own is not None:
                self._core.simulator.seed(row, own)
        self._seeded = True

    def _checked(self, actions: Any) -> np.ndarray:
        if not self._playing:
            raise UsageError("step() needs episodes in play: call reset() first.")
        try:
            given = np.asarray(actions)
        except (TypeError, ValueError, OverflowError):  # rows of unlike lengths, or what refuses to be an array
            raise ActionError(f"actions = {shown(actions)}: must be ({self.num_envs},) whole numbers.") from None
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ActionError(f"actions of shape {given.shape} and type {given.dtype}: must be ({self.num_envs},) whole numbers.")
        given = np.ascontiguousarray(given, np.int64)
        core = self._core
        if self._mode == DISABLED and (core.simulator.state.machine["outcome"] != ASKING).any():
            raise UsageError("step() with rows whose episode is over: reset them with options={'reset_mask': mask} first.")
        bad = find_bad_action(core.simulator.words, given, self.config.strict, self._mode)
        if bad >= 0:
            what = f"actions[{bad}] = {given[bad]}"
            if 0 <= given[bad] < core.num_actions:
                raise ActionError(f"{what}: illegal here. Legal: {np.flatnonzero(core.masks[bad]).tolist()}.")
            raise ActionError(f"{what}: must be a whole number from 0 to {core.num_actions - 1}.")
        return given

    def _info(self) -> dict[str, Any]:
        outcomes = self._core.outcomes
        terms = outcomes["terms"]
        return {
            "action_mask": self._core.masks,
            "reward_terms": {name: terms[:, index] for index, name in enumerate(REWARD_TERMS)},
            "elapsed_ms": self._ms_per_cycle * (outcomes["elapsed_cycles"]),
            "illegal_action": outcomes["illegal_action"],
            "npu": self._core.simulator.state.status["npu"].copy(),
        }

    def _metrics(self) -> dict[str, np.ndarray]:
        metrics = self._core.outcomes["metrics"]
        return stream_metrics_columns(metrics, len(self.config.all_npus)) if self.config.stream else metrics_columns(metrics)

    def _add_end(self, info: dict[str, Any], final_observations: np.ndarray) -> None:
        outcomes = self._core.outcomes
        ended = outcomes["terminated"] | outcomes["truncated"]
        info["metrics"], info["_metrics"] = self._metrics(), ended
        if self._mode != SAME_STEP:
            return
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            final_obs[row] = final_observations[row].copy()
        masks = np.zeros_like(self._core.masks)
        masks[:, 0] = ended
        kept = ("reward_terms", "elapsed_ms", "illegal_action", "metrics")
        info["final_obs"], info["_final_obs"] = final_obs, ended
        info["final_info"], info["_final_info"] = {"action_mask": masks, **{key: info[key] for key in kept}}, ended
