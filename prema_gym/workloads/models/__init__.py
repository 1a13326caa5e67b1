"""The networks of the library, by name: the paper's eight, and those that users register."""

from __future__ import annotations

from prema_gym.config import MODEL_NAMES
from prema_gym.errors import ModelError, unknown_name
from prema_gym.workloads.models.alexnet import CNN_AN
from prema_gym.workloads.models.googlenet import CNN_GN
from prema_gym.workloads.models.mobilenet import CNN_MN
from prema_gym.workloads.models.model import Model
from prema_gym.workloads.models.sentiment import RNN_SA
from prema_gym.workloads.models.speech import RNN_ASR
from prema_gym.workloads.models.translation import RNN_MT1, RNN_MT2
from prema_gym.workloads.models.vgg import CNN_VN

__all__ = ["MODELS", "Model", "get_model", "register_model"]

MODELS: dict[str, Model] = {model.name: model for model in (CNN_AN, CNN_GN, CNN_VN, CNN_MN, RNN_SA, RNN_MT1, RNN_MT2, RNN_ASR)}
"""Models by name, the built-in ones in the order of :data:`prema_gym.config.MODEL_NAMES`."""


def get_model(name: str) -> Model:
    """Return the model called ``name``; raises :class:`ModelError` for an unknown one."""
    if name not in MODELS:
        raise ModelError(unknown_name("model", name, MODELS))
    return MODELS[name]


def register_model(model: Model) -> Model:
    """Add ``model`` to :data:`MODELS` and return it. Your own may be replaced, a built-in one may not."""
    if not isinstance(model, Model):
        raise ModelError(f"register_model({model!r}): must be a Model.")
    if not isinstance(model.name, str) or not model.name:
        raise ModelError(f"Model.name = {model.name!r}: must be a non-empty string.")
    if model.name in MODEL_NAMES:
        raise ModelError(f"Model.name = {model.name!r}: must differ from the built-in models ({', '.join(MODEL_NAMES)}).")
    MODELS[model.name] = model
    return model
