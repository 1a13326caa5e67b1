"""What compiled code draws requests from: the classes of a workload as records."""

from __future__ import annotations

import numpy as np

from prema_gym.config import WorkloadConfig
from prema_gym.types import CLASS, DRAW, LEVEL, NONE
from prema_gym.workloads.drawing import Draws
from prema_gym.workloads.programs import ProgramTable


def draws_of(workload: WorkloadConfig, programs: ProgramTable) -> Draws:
    """Return what requests of ``workload`` are drawn from; ``totals`` are those of the program table as it is now."""
    classes = np.zeros(len(workload.models), CLASS)
    classes["cumulative_weight"] = np.arange(1, len(classes) + 1)
    classes["sla_cycles"] = NONE
    classes["first_mix"] = np.arange(len(classes)) * len(workload.batches)
    classes["mixes"] = len(workload.batches)
    classes["levels"] = len(workload.priorities)
    levels = np.zeros(len(workload.priorities), LEVEL)
    levels["cumulative_weight"] = np.arange(1, len(levels) + 1)
    levels["priority"] = workload.priorities
    return Draws(_draw(workload, programs), classes, programs.mixes, levels, programs.arrays.totals)


def _draw(workload: WorkloadConfig, programs: ProgramTable) -> np.ndarray:
    draw = np.zeros(1, DRAW)
    draw["window"] = workload.window
    draw["predictor_error"] = workload.predictor_error
    draw["num_tasks"] = workload.num_tasks
    draw["program_stride"] = programs.stride
    return draw
