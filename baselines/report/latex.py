"""Results as a LaTeX table."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.evaluation.comparison import Comparison
from baselines.report.cells import PERCENT, best_policies, cell, marks

_LATEX = {"\\": r"\textbackslash{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\^{}"}


def latex_escape(text: str) -> str:
    """Return ``text`` as LaTeX prints it."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def latex_table(results: Comparison, measures: Sequence[str]) -> str:
    r"""Return a ``tabular`` (booktabs): one row per policy, mean and half-width, best in bold.

    ``$^\dagger$`` marks policies that were told true times, ``$^\ddagger$`` those that played illegal actions,
    ``$^\S$`` those that were trained on another NPU.
    """
    heads = [latex_escape(results.measures[name].label + (" (%)" if name in PERCENT else "")) for name in measures]
    best = {name: best_policies(results, name) for name in measures}
    lines = [rf"\begin{{tabular}}{{l{'r' * len(heads)}}}", r"\toprule", " & ".join(["policy", *heads]) + r" \\", r"\midrule"]
    for policy in results.policies:
        cells = [latex_escape(policy) + marks(results, policy, r"$^\dagger$", r"$^\ddagger$", r"$^\S$")]
        for name in measures:
            mean, half = cell(results, policy, name)
            width = rf" {{\scriptsize$\pm${half}}}" if half else ""
            cells.append((rf"\textbf{{{mean}}}" if policy in best[name] else mean) + width)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
