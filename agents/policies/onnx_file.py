"""An ONNX file at the table: ``evaluate(["PREMA", "mine.onnx"])``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.policies.card import Card, read_card
from agents.policies.network import LogitPolicy
from prema_gym.errors import PolicyError, missing_package
from prema_gym.files import is_file

SUFFIX = ".onnx"
OPSET = 17


class OnnxPolicy(LogitPolicy):
    """A graph as a policy; :func:`policy_from_onnx` makes one."""

    def __init__(self, session: Any, name: str, card: Card) -> None:
        super().__init__(name, card)
        self._session = session
        self._input = session.get_inputs()[0].name
        self.features = _known(session.get_inputs()[0].shape)
        self.actions = _known(session.get_outputs()[0].shape)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Return the graph's (N, A) logits."""
        try:
            return np.asarray(self._session.run(None, {self._input: observations})[0])
        except Exception as error:  # onnxruntime has errors of its own
            raise PolicyError(
                f"{self.name}: can't be asked about observations of {observations.shape} ({_line(error)})."
            ) from error


def write_onnx(network: Any, features: int, path: Path) -> None:
    """Write a torch module from (B, ``features``) observations to (B, A) logits as an ONNX file; the batch is free."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    torch.onnx.export(
        network,
        (torch.zeros(2, features),),
        str(unfinished),
        input_names=["observations"],
        output_names=["logits"],
        dynamic_axes={"observations": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    os.replace(unfinished, path)


def _known(shape: Any) -> int | None:
    """Return the second extent of a shape where it is a number."""
    return shape[1] if shape is not None and len(shape) == 2 and isinstance(shape[1], int) else None


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def policy_from_onnx(
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    mechanisms: Sequence[str] | None = None,
    asked_every: int | None = None,
) -> OnnxPolicy:
    """Return an ONNX file as a policy: its input takes (N, D) float32 observations, its first output is (N, A) logits.

    The largest legal logit is played. Raises :class:`prema_gym.errors.PolicyError` for what is no such file. Needs onnxruntime.

    Parameters
    ----------
    path: of the file; ``python -m agents.export`` writes one, with its card.
    name: in tables; the file's by default.
    mechanisms, asked_every: of the environment that it was trained on; by default those of the card beside it, else it is asked on
        arrivals and completions, and its number of actions tells how many mechanisms there were.

    """
    place = Path(path)
    if not is_file(place):
        raise PolicyError(f"{place}: is no file.")
    card = (read_card(place) or Card()).stated(str(place), mechanisms, asked_every)
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing_package(f"{place}", error.name) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the networks are small: threads would wait for each other
    options.log_severity_level = 4  # what is wrong is in the error
    try:
        session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime's own
        raise PolicyError(f"{place}: is no ONNX file, or a damaged one ({_line(error)}).") from error
    inputs = [given.name for given in session.get_inputs()]
    if len(inputs) != 1:
        raise PolicyError(f"{place}: takes {len(inputs)} inputs ({', '.join(inputs)}), must take one, the observations.")
    return OnnxPolicy(session, name or place.stem, card)
