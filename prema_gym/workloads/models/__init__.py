"""The networks of the library, by name: the paper's eight, five of later years, and those that users register."""

from __future__ import annotations

from typing import TypeVar

from prema_gym.checks import new_name, one_of
from prema_gym.errors import ModelError, shown
from prema_gym.workloads.models.alexnet import CNN_AN
from prema_gym.workloads.models.googlenet import CNN_GN
from prema_gym.workloads.models.measured import MeasuredModel
from prema_gym.workloads.models.mobilenet import CNN_MN
from prema_gym.workloads.models.mobilenet2 import MOBILENET_V2
from prema_gym.workloads.models.model import Model
from prema_gym.workloads.models.recommendation import DLRM
from prema_gym.workloads.models.resnet import RESNET_50
from prema_gym.workloads.models.sentiment import RNN_SA
from prema_gym.workloads.models.speech import RNN_ASR
from prema_gym.workloads.models.transformer import BERT_BASE, VIT_B16
from prema_gym.workloads.models.translation import RNN_MT1, RNN_MT2
from prema_gym.workloads.models.vgg import CNN_VN

__all__ = ["MEASURED", "MODELS", "MeasuredModel", "Model", "get_model", "register_model"]

AnyModel = TypeVar("AnyModel", bound="Model | MeasuredModel")

PAPER = (CNN_AN, CNN_GN, CNN_VN, CNN_MN, RNN_SA, RNN_MT1, RNN_MT2, RNN_ASR)
"""The paper's benchmark, in the order of :data:`prema_gym.config.MODEL_NAMES`: what an episode draws unless told otherwise."""
LATER = (RESNET_50, MOBILENET_V2, VIT_B16, BERT_BASE, DLRM)
MODELS: dict[str, Model] = {model.name: model for model in (*PAPER, *LATER)}
"""Models by name, the built-in ones first."""
BUILT_IN = frozenset(MODELS)
MEASURED: dict[str, MeasuredModel] = {}
"""Networks known by measured latencies, by name: all of them registered by users."""


def get_model(name: str) -> Model:
    """Return the model called ``name``; raises :class:`ModelError` for an unknown one."""
    return MODELS[one_of("model", name, MODELS, error=ModelError)]


def register_model(model: AnyModel) -> AnyModel:
    """Add ``model`` to :data:`MODELS`, or a measured one to :data:`MEASURED`, and return it.

    Your own may be replaced, a built-in one may not.
    """
    if not isinstance(model, (Model, MeasuredModel)):
        raise ModelError(f"register_model({shown(model)}): must be a Model, or what from_profile returns.")
    new_name(f"Model.name = {shown(model.name)}", model.name, error=ModelError)
    if model.name in BUILT_IN:
        raise ModelError(f"Model.name = {model.name!r}: must differ from the built-in models ({', '.join(sorted(BUILT_IN))}).")
    MODELS.pop(model.name, None)
    MEASURED.pop(model.name, None)
    if isinstance(model, MeasuredModel):
        MEASURED[model.name] = model
    else:
        MODELS[model.name] = model
    return model
