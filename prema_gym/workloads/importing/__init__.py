"""Networks from outside: ONNX files, torch modules, layer tables of other simulators, measured latencies."""

from prema_gym.workloads.importing.imported import ImportedModel
from prema_gym.workloads.importing.onnx_file import from_onnx
from prema_gym.workloads.importing.torch_module import from_torch

__all__ = ["ImportedModel", "from_onnx", "from_torch"]
