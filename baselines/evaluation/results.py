"""The outcome of an evaluation: a comparison, and its way into JSON, CSV, LaTeX and pandas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prema_gym
from baselines.evaluation.comparison import BOUNDS, REFERENCE, Comparison
from baselines.evaluation.estimates import Difference, Estimate, Factor
from baselines.evaluation.measures import HEADLINES, SLA_MEASURES
from baselines.report.latex import latex_table
from prema_gym.errors import PremaError, unknown_name
from prema_gym.files import write_csv, write_text
from prema_gym.metrics import SLA_TARGETS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["BOUNDS", "REFERENCE", "Difference", "Estimate", "Factor", "Results"]

SCHEMA = 1
"""Version of the JSON that :meth:`Results.to_json` writes; raised when a key changes its meaning or goes."""
FACTORS = ("antt", "weighted_antt", "stp", "fairness", "sla_violation", "hp_tail", "class_fairness", "jain", "worst_ntt")
"""Measures that :meth:`Results.versus` gives factors of."""


@dataclass(frozen=True, repr=False)
class Results(Comparison):
    """A comparison with its ways out of Python; prints as its table."""

    def summary(self, policy: str) -> dict[str, Any]:
        """Return ``{measure: {"mean": .., "ci95": [..]}}``, SLA violations per target in ``sla_violation_at``.

        ``utilisation`` is a list of such entries, one per NPU.
        """
        plain = {name: self.estimate(policy, name).to_dict() for name in self.measures if name not in SLA_MEASURES}
        targets = zip(SLA_TARGETS, SLA_MEASURES, strict=True)
        at_targets = {str(n): self.estimate(policy, name).to_dict() for n, name in targets}
        utilisation = [share.to_dict() for share in self.utilisation(policy)]
        return {**plain, "sla_violation_at": at_targets, "utilisation": utilisation}

    def versus(self, reference: str = REFERENCE) -> dict[str, Any]:
        """Return the factors of every other policy over ``reference``; empty if it was not played."""
        if reference not in self.played:
            return {}
        others = [name for name in self.played if name != reference]
        return {name: {measure: self.factor(name, measure, reference).to_dict() for measure in FACTORS} for name in others}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            "schema": SCHEMA,
            "version": prema_gym.__version__,
            "episodes": self.episodes,
            "seed": self.seed,
            "split": self.split,
            "window": self.config.workload.window,
            "npu": self.npu_name,
            "npus": list(self.npu_names),
            "config": _json_types(self.config.to_dict()),
            "priorities": list(self.priorities),
            "clairvoyant": list(self.clairvoyant),
            "trained_elsewhere": list(self.trained_elsewhere),
            "asked_every": dict(self.asked_every),
            "policies": {name: self.summary(name) for name in self.played},
            "versus_np_fcfs": self.versus(),
            "bound": {name: self.bound(name).to_dict() for name in BOUNDS},
        }

    def to_json(self, path: str | Path) -> None:
        """Write :meth:`to_dict` to ``path``."""
        write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")

    # --- Tables ----------------------------------------------------------------------------------------------------------------

    def rows(self, per: str = "policy") -> Iterator[dict[str, Any]]:
        """Yield table rows: ``per="policy"`` has means with ``_low`` and ``_high``, ``per="episode"`` a row for every episode."""
        if per not in ("policy", "episode"):
            raise PremaError(unknown_name("kind of row", per, ("policy", "episode")))
        yield from self._policy_rows() if per == "policy" else self._episode_rows()

    def _policy_rows(self) -> Iterator[dict[str, Any]]:
        for policy in self.played:
            row: dict[str, Any] = {"policy": policy, "episodes": self.episodes}
            for measure in self.measures:
                estimate = self.estimate(policy, measure)
                row |= {measure: estimate.mean, f"{measure}_low": estimate.low, f"{measure}_high": estimate.high}
            for npu, share in enumerate(self.utilisation(policy)):
                name = f"utilisation_{npu}"
                row |= {name: share.mean, f"{name}_low": share.low, f"{name}_high": share.high}
            yield row

    def _episode_rows(self) -> Iterator[dict[str, Any]]:
        for policy, values in self.values.items():
            seeds, used = self.played[policy].episodes["seed"].tolist(), self.played[policy].utilisation
            for episode, (seed, numbers) in enumerate(zip(seeds, values.tolist(), strict=True)):
                bounds = dict(zip((f"{name}_bound" for name in BOUNDS), self.bounds[episode].tolist(), strict=True))
                measured = dict(zip(self.episode_measures, numbers, strict=True))
                shares = {f"utilisation_{npu}": share for npu, share in enumerate(used[episode].tolist())}
                yield {"policy": policy, "episode": episode, "episode_seed": seed, **measured, **bounds, **shares}

    def to_csv(self, path: str | Path, per: str = "policy") -> None:
        """Write :meth:`rows` to ``path``."""
        rows = list(self.rows(per))
        write_csv(path, rows)

    def to_pandas(self, per: str = "policy") -> pd.DataFrame:
        """Return :meth:`rows` as a data frame, indexed by policy (and episode); needs pandas (the ``notebooks`` extra)."""
        try:
            import pandas as pd
        except ImportError as error:
            raise PremaError('to_pandas() needs pandas: pip install pandas, or "prema-gym[notebooks]".') from error
        index = ["policy"] if per == "policy" else ["policy", "episode"]
        return pd.DataFrame(list(self.rows(per))).set_index(index)

    def table(self) -> str:
        """Return the table of the headline measures with its notes, as text; :func:`print` and notebooks show the same."""
        from baselines.report.tables import text_of

        return text_of(self, reference=REFERENCE if REFERENCE in self.played else None)

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f'<pre style="line-height: 1.3; white-space: pre">{escape(self.table())}</pre>'

    def plot(self, path: str | Path | None = None) -> Figure:
        """Return the figure of the comparison, bars of the headline measures and a front; with ``path`` also write it there."""
        from baselines.report.plots import comparison_figure, save_comparison

        if path is not None:
            save_comparison(self, path)
        return comparison_figure(self)

    def save_page(self, path: str | Path) -> None:
        """Write a page to look at and send: tables, pictures with exact figures, configuration; needs the extra ``html``."""
        from baselines.report.page import save_comparison_page

        save_comparison_page(self, path)

    def latex(self, measures: tuple[str, ...] = HEADLINES) -> str:
        """Return a LaTeX table (booktabs): means, half-widths of the intervals, the best in bold."""
        return latex_table(self, measures)


def _json_types(value: Any) -> Any:
    """Return ``value`` with tuples as lists, as it comes back from JSON."""
    return json.loads(json.dumps(value))
