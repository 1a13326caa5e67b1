"""Networks from outside: ONNX files, torch modules, layer tables of other simulators, measured latencies."""

from prema_gym.workloads.importing.file import from_file
from prema_gym.workloads.importing.imported import ImportedModel
from prema_gym.workloads.importing.onnx_file import from_onnx
from prema_gym.workloads.importing.profile import from_profile
from prema_gym.workloads.importing.topology import from_csv
from prema_gym.workloads.importing.torch_module import from_torch
from prema_gym.workloads.models.measured import MeasuredModel

__all__ = ["ImportedModel", "MeasuredModel", "from_csv", "from_file", "from_onnx", "from_profile", "from_torch"]
