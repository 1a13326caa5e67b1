"""Heuristics: a selection rule and a switching rule, compiled, behind the policy interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from baselines.policies.compiled import Chooser, CompiledPolicy
from baselines.policies.rules.registry import SWITCHING_RULES, selection_rule
from baselines.policies.rules.rule import HEURISTIC, SelectionRule, SwitchingRule, parameters_of
from prema_gym.config import EnvConfig
from prema_gym.errors import PolicyError, unknown_name
from prema_gym.workloads.programs import ProgramTable
from prema_gym.workloads.residual import residuals_of


class Heuristic(CompiledPolicy):
    """A scheduler made of whom to run and how to switch."""

    def __init__(
        self,
        name: str,
        selection: str,
        mechanism: str = "NONE",
        *,
        clairvoyant: bool = False,
        source: str = "",
        **parameters: float | bool,
    ) -> None:
        """Take the names of two rules, and values for parameters of theirs.

        Parameters
        ----------
        name: what tables call it.
        selection: a key of :data:`baselines.policies.rules.registry.SELECTION_RULES`, or ``GATE/`` and one.
        mechanism: a key of :data:`baselines.policies.rules.registry.SWITCHING_RULES`.
        clairvoyant: whether rules get true times in place of predicted ones.
        source: where it comes from; by default where its selection rule does.
        parameters: by name, such as INDEX's ``priority_power``; raises :class:`PolicyError` for one that neither rule has.

        """
        self.name, self.selection, self.mechanism = name, selection, mechanism
        self.clairvoyant = clairvoyant
        self.source = source or self._selection_rule.source
        self.parameters: Mapping[str, float | bool] = parameters_of((self._selection_rule, self._switching_rule), parameters)

    def __repr__(self) -> str:
        return f"Heuristic({self.name!r}, {self.selection!r}, {self.mechanism!r}, {dict(self.parameters)})"

    @property
    def _selection_rule(self) -> SelectionRule:
        return selection_rule(self.selection)

    @property
    def _switching_rule(self) -> SwitchingRule:
        if self.mechanism not in SWITCHING_RULES:
            raise PolicyError(unknown_name("switching rule", self.mechanism, SWITCHING_RULES))
        return SWITCHING_RULES[self.mechanism]

    @property
    def asked_every(self) -> int | None:
        """Quanta between the decisions that it needs; None where arrivals and completions are enough.

        They are where its choice can only change at them: if it never evicts, or if its selection rule says so. Algorithm 3 changes
        nothing about it, since a running task that is let run has less and less left.
        """
        return 1 if self._switching_rule.evicts and self._selection_rule.changes(self.parameters) else None

    @property
    def allow_idle(self) -> bool:
        """Whether it leaves an NPU idle though tasks wait: only a gate does."""
        return self._selection_rule.may_idle

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms that it may play, in the order of the action columns; empty where it never evicts."""
        return self._switching_rule.mechanisms

    @property
    def rule(self) -> str:
        """What it does, in words: whom it runs, how it switches, the source."""
        known = " Knows true times." if self.clairvoyant else ""
        return f"Runs: {self._selection_rule.words}. Switching: {self._switching_rule.words}.{known} {self.source}".strip()

    def _made(self, known: Sequence[np.ndarray]) -> Chooser:
        """Return the compiled policy, its selection rule knowing the arrays ``known``, where it knows any."""
        selection, switching = self._selection_rule, self._switching_rule
        own = selection.record(self.parameters) if not known else selection.knowing(self.parameters, known)
        records = (own, switching.record(self.parameters))
        params = np.zeros(1, HEURISTIC)
        params["switch"] = switching.entry.address
        params["selection_params"], params["switching_params"] = (record.ctypes.data for record in records)
        return Chooser(selection.entry, params, (*records, *known), evicts=switching.evicts)

    @cached_property
    def _chooser(self) -> Chooser:
        return self._made(())

    @cached_property
    def _knowing(self) -> dict[int, Chooser]:
        return {}

    def chooser(self, config: EnvConfig) -> Chooser:
        """Return the compiled policy: it has no work space, so all threads share it."""
        if not self._selection_rule.knows:
            return self._chooser
        known = self._known(ProgramTable.of(config.configurations, config.workload, config.batching))
        found = self._knowing.get(id(known[0]))
        if found is None:  # a chooser holds what it knows, so that no other has the same id
            found = self._knowing[id(known[0])] = self._made(known)
        return found

    def _known(self, programs: ProgramTable) -> Sequence[np.ndarray]:
        """Return the arrays that its selection rule knows, the same ones for the same table."""
        return residuals_of(programs)
