"""The networks that have a compiled form, by the kind that cards name: a new one is a module beside these, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from agents.network.form import Form
from agents.network.perceptron import PerceptronShape, perceptron_chooser
from agents.network.slots.chooser import network_chooser
from agents.network.slots.layout import Shape
from agents.network.table import TableShape, table_chooser
from baselines.policies.compiled import Chooser
from prema_gym.config import EnvConfig


class Compiled(NamedTuple):
    """A form, and what plays networks of it."""

    form: type[Form]
    chooser: Callable[[Any, np.ndarray, EnvConfig], Chooser]
    """Takes the form, the (size,) flat weights and the configuration; raises PolicyError where they don't fit each other."""


FORMS = {
    each.form.kind: each
    for each in (
        Compiled(Shape, network_chooser),
        Compiled(TableShape, table_chooser),
        Compiled(PerceptronShape, perceptron_chooser),
    )
}
"""By kind."""


def chooser_of(form: Form, flat: np.ndarray, config: EnvConfig) -> Chooser:
    """Return the network of ``form`` with the (size,) ``flat`` weights as a compiled policy for one thread."""
    return FORMS[form.kind].chooser(form, flat, config)
