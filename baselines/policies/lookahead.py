"""LOOKAHEAD: a base rule that looks before it decides. At every decision a few actions are tried on copies of the machine.

Each action is played on the same sampled futures, and the base rule goes on from there until all requests are done. The lookahead
plays the base rule's own action, unless another one has paid more by two standard errors of the paired gain. Futures are sampled
from what is public (:mod:`prema_gym.sim.futures`): no truth is used. At decisions that the quantum alone asks, the base rule plays
unlooked, and in rollouts it is asked at events only.

``LOOKAHEAD-CLAIRVOYANT`` is the same search on the one true future. No scheduler can know it: it is a mark, and tables show it as
one.

A lookahead needs more than a view: the rows themselves, to copy them. So ``act`` alone can't answer; ``on_rows(core)`` returns what
plays on the rows of a core, and ``evaluate``, ``compare`` and ``record`` call it before they play.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from baselines.policies.compiled import Chooser, Compiled, Shown, addresses
from baselines.policies.needs import StatesNeeds, mechanisms_of
from baselines.policies.policy import Policy
from baselines.policies.rollouts import PLACE, PLAN, plan_rows
from prema_gym.checks import is_number, one_of, whole
from prema_gym.config import EnvConfig
from prema_gym.envs.core import Core
from prema_gym.envs.reward import reward_weights
from prema_gym.envs.step_reward import NUM_TERMS
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError, shown
from prema_gym.sim.book import write_book
from prema_gym.sim.simulator import Simulator
from prema_gym.workloads.drawing import KIND, LISTED
from prema_gym.workloads.residual import outputs_of

LOOKAHEAD, CLAIRVOYANT = "LOOKAHEAD", "LOOKAHEAD-CLAIRVOYANT"
LOOKAHEADS = {LOOKAHEAD: False, CLAIRVOYANT: True}
"""Whether it knows the future, by name."""
DEFAULT_BASE = "GATE"
"""What goes on where no base rule is named: WSRPT, which on unlike NPUs starts nothing where it takes far too long."""
MOST = 1 << 16
"""Futures, actions or requests."""


@dataclasses.dataclass(frozen=True)
class Search:
    """How far and how often a lookahead looks."""

    futures: int = 16
    """Sampled futures, the same for all actions; a clairvoyant one has one."""
    actions: int = 10
    """Actions that are tried at most: the base rule's own, to keep, and those that the rule would choose next."""
    requests: int = 16
    """Requests of a stream that still come in a future; closed episodes are played to their end."""
    seed: int = 0
    objective: str | Mapping[str, float] | None = None
    """What is to become large, as ``reward=`` has it; None is the environment's own reward."""
    errors: float = 2.0
    """Standard errors that a paired gain must exceed."""

    def __post_init__(self) -> None:
        for name, least in (("futures", 2), ("actions", 2), ("requests", 1)):
            whole(name, getattr(self, name), least, MOST, error=PolicyError)
        whole("seed", self.seed, 0, (1 << 64) - 1, error=PolicyError)
        if self.futures * self.actions > MOST:
            raise PolicyError(f"futures = {self.futures}, actions = {self.actions}: their product must be at most {MOST}.")
        if not is_number(self.errors) or self.errors < 0:
            raise PolicyError(f"errors = {shown(self.errors)}: must be a number of at least 0.")
        if self.objective is not None:
            reward_weights(self.objective)


class LookaheadPolicy(StatesNeeds):
    """A lookahead over a compiled policy, which is asked as often as that one, and plays by its mechanisms."""

    def __init__(self, base: Policy, *, clairvoyant: bool = False, search: Search | None = None, name: str = "") -> None:
        """Take the base rule; raises :class:`PolicyError` for one that isn't compiled, or is told true times."""
        first = CLAIRVOYANT if clairvoyant else LOOKAHEAD
        if not isinstance(base, Policy):
            raise PolicyError(f"{name or first}: the base rule must be a policy, not {shown(base)}.")
        self.name = name or f"{first}/{base.name}"
        if not isinstance(base, Compiled):
            raise PolicyError(f"{self.name}: {base.name} is not a compiled policy, and only those can be rolled out.")
        if base.clairvoyant:
            raise PolicyError(f"{self.name}: {base.name} is told true times; a lookahead needs a rule that plays without.")
        self.base: Compiled = base
        self.clairvoyant = clairvoyant
        self.search = search or Search()

    @property
    def asked_every(self) -> int | None:
        """Quanta between the decisions that the base rule needs."""
        every: int | None = getattr(self.base, "asked_every", None)
        return every

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Mechanisms of the base rule; CHECKPOINT where it has none."""
        return mechanisms_of(self.base)

    @property
    def allow_idle(self) -> bool:
        """True: to wait for a better NPU is an action."""
        return True

    @property
    def rule(self) -> str:
        """What it does, in words."""
        futures = "the true future" if self.clairvoyant else f"{self.search.futures} sampled futures"
        behind = getattr(self.base, "rule", self.base.name)
        return (
            f"Tries actions on copies of the machine, over {futures}; the base rule goes on there, and decides otherwise. {behind}"
        )

    def check(self, view: View) -> None:
        """Raise :class:`PolicyError` where it can't plan."""
        arrivals = view.config.workload.arrivals
        if arrivals is not None and arrivals.process == "closed":
            raise PolicyError(f"{self.name}: plans for requests that come by themselves; clients that wait for answers don't.")
        if view.config.batching > 1:
            raise PolicyError(
                f"{self.name}: batching = {view.config.batching}: plans where requests run one by one, batching=1, only."
            )

    def on_rows(self, core: Core) -> Planning:
        """Return what plays on the rows of ``core``; raises :class:`PolicyError` as :meth:`check` does."""
        self.check(core.view())
        return Planning(self, core)

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Raise :class:`PolicyError`: a view is not enough."""
        raise PolicyError(f"{self.name} plans on copies of the rows: evaluate() and record() hand them over; act() alone cannot.")


class Planning:
    """A lookahead on the rows of one core, as a policy."""

    def __init__(self, policy: LookaheadPolicy, core: Core) -> None:
        self.name, self.clairvoyant = policy.name, policy.clairvoyant
        self._core, self._search = core, policy.search
        self._chooser = policy.base.chooser(core.config)
        objective = policy.search.objective
        self._weights = core.weights if objective is None else reward_weights(objective)
        self._memory: _Memory | None = None
        search = policy.search
        self._plan = np.zeros(1, PLAN)
        for field in ("seed", "requests", "errors"):
            self._plan[field] = getattr(search, field)
        self._plan["futures"], self._plan["clairvoyant"] = 1 if policy.clairvoyant else search.futures, policy.clairvoyant
        self._terms = np.zeros(NUM_TERMS)
        self.tried = np.zeros((1, search.actions), np.int64)
        """The actions that were tried at the latest decision that was looked at, the base rule's own first."""
        self.returns = np.full((search.actions, search.futures), np.nan)
        """What each of them paid in each future; NaN from where it was dropped."""

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions for the rows of the core, which is what ``view`` shows."""
        simulator = self._core.simulator
        if self._memory is None or self._memory.of is not simulator.words:
            self._memory = _Memory(simulator, self._chooser, self._core.config, self._search.requests)
        memory, out = self._memory, np.empty(view.rows, np.int64)
        plan_rows(
            simulator.words, memory.words, memory.places, self._chooser.entry.address, memory.asks, memory.own_asks, self._plan,
            memory.outputs, self._weights, self._terms, self.tried, self.returns, out,
        )  # fmt: skip
        return out


class _Memory:
    """The two rows that futures are written into and played in, for the rows of one simulator as its book is now."""

    def __init__(self, simulator: Simulator, chooser: Chooser, config: EnvConfig, requests: int) -> None:
        self.of = simulator.words
        self.rows = own = Simulator(config, 2)
        own.tables.rules["decision_every"] = 0  # a rollout asks at events
        # A list holds what can be in the backlog, what comes, and the request that never does.
        size = requests + max(config.horizon, len(simulator.draws.listed)) + 1 if config.stream else 0
        self.draws = own.draws._replace(listed=np.zeros(size, LISTED), kinds=np.zeros(size, KIND))
        self.words = write_book(own.tables, self.draws, own.state)
        self.outputs = outputs_of(own.programs)
        self.places = self._places(simulator)
        self.asks = _asks(simulator, chooser)
        self.own_asks = _asks(own, chooser)

    def _places(self, simulator: Simulator) -> np.ndarray:
        """Return the (...,) PLACE of all arrays that make a row."""
        theirs, own = simulator.state._asdict(), self.rows.state._asdict()
        names = simulator.memory_layout.sizes
        places = np.zeros(len(names), PLACE)
        for place, (name, nbytes) in zip(places, names, strict=True):
            assert nbytes % 8 == 0, name
            place["theirs"], place["own"], place["row_bytes"] = theirs[name].ctypes.data, own[name].ctypes.data, nbytes
        return places


def _asks(simulator: Simulator, chooser: Chooser) -> np.ndarray:
    """Return the words that a chooser is called with for the rows of ``simulator``."""
    state = simulator.state
    return addresses(
        Shown(state.status, state.table, state.npus, state.predictions, state.batches), simulator.tables.rules, None, chooser
    )


def lookahead(first: str, base: Policy, *, name: str = "", **search: Any) -> LookaheadPolicy:
    """Return the lookahead ``first`` (of :data:`LOOKAHEADS`) over ``base``; ``search`` has fields of :class:`Search`."""
    first = one_of("lookahead", first, LOOKAHEADS, error=PolicyError)
    if not isinstance(name, str):
        raise PolicyError(f"name = {shown(name)}: must be a string.")
    return LookaheadPolicy(base, clairvoyant=LOOKAHEADS[first], search=Search(**search), name=name)
