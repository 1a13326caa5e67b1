"""The program table of one NPU and workload: every program an episode can draw, and those that injected traces ask for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np

from prema_gym.config import MODEL_NAMES, NPUConfig, WorkloadConfig
from prema_gym.errors import ConfigError, TraceError, unknown_name
from prema_gym.hardware.library import ProgramLibrary, cached_library
from prema_gym.hardware.program import Program, compile_model
from prema_gym.types import MIX
from prema_gym.workloads.lengths import LengthSpec, predicted_output_length
from prema_gym.workloads.models import MODELS, Model
from prema_gym.workloads.predictor import predict_cycles
from prema_gym.workloads.trace import TraceTask

REGISTERED: dict[str, Program] = {}
"""Synthetic programs by name (see :func:`register_program`)."""

log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What a row of the table is: a model at a batch and an input length (None where it has none)."""

    model: str
    batch: int
    input_length: int | None


def register_program(name: str, program: Program) -> None:
    """Let traces and workloads name ``program`` as a model, at any batch. Registering a name again replaces it.

    A compiled program whose ``predicted_cycles`` was left alone is told to schedulers as Algorithm 1 predicts it, not as it is. It
    plays as it was compiled, whatever the environment's NPU.
    """
    if name in MODELS:
        raise ConfigError(f"register_program({name!r}): the name belongs to a network of MODELS; choose another.")
    if not isinstance(program, Program):
        raise ConfigError(
            f"register_program({name!r}, {program!r}): must be a Program, as compile_model or Program.from_points return."
        )
    REGISTERED[name] = _predicted(program)


def _predicted(program: Program) -> Program:
    if program.source is None or program.predicted_cycles != program.total_cycles:
        return program
    network, batch, npu, _ = program.source
    return dataclasses.replace(program, predicted_cycles=predict_cycles(network, batch, npu, output_length=1))


def known_models() -> list[str]:
    """Return every name that a trace or a workload may use."""
    return [*MODELS, *REGISTERED]


def compile_program(model: Model, batch: int, npu: NPUConfig, input_length: int | None, *, hoist_inputs: bool = False) -> Program:
    """Compile ``model`` at ``batch`` and ``input_length``, for every output length, with Algorithm 1's prediction."""
    spec = model.lengths
    network = model.network(input_length=input_length, hoist_inputs=hoist_inputs)
    most = spec.max_output if spec is not None and spec.ratio is not None else 1
    program = compile_model(network, batch=batch, npu=npu, output_lengths=most, name=model.name)
    guess = predicted_output_length(spec, input_length) if spec is not None and spec.ratio is not None and input_length else None
    predicted = predict_cycles(network, batch, npu, output_length=guess)
    return dataclasses.replace(program, predicted_cycles=predicted, length_estimated=guess is not None)


def _lengths(spec: LengthSpec | None) -> list[int | None]:
    return [None] if spec is None else list(range(spec.min, spec.max + 1))


def _mix(model: str, first_program: int) -> np.ndarray:
    mix = np.zeros((), MIX)
    mix["first_program"] = first_program
    mix["max_output"] = 1
    spec = MODELS[model].lengths if model in MODELS else None
    if spec is not None:
        mix["min_length"], mix["max_length"] = spec.min, spec.max
        mix["log_median"], mix["sigma"] = np.log(spec.median), spec.sigma
        if spec.ratio is not None:
            mix["ratio"], mix["output_sigma"], mix["max_output"] = spec.ratio, spec.output_sigma, spec.max_output
    return mix


class ProgramTable:
    """Program rows by :class:`Key`; it only grows, so a row number stays valid."""

    _tables: ClassVar[dict[tuple[object, ...], ProgramTable]] = {}

    @classmethod
    def of(cls, npu: NPUConfig, workload: WorkloadConfig) -> ProgramTable:
        """Return the table of ``npu`` and ``workload``, shared by all simulators of this process."""
        for model in workload.models:
            if model not in MODELS and model not in REGISTERED:
                raise ConfigError(f"WorkloadConfig.models: {unknown_name('model', model, known_models())}")
        programs = tuple(id(REGISTERED.get(model)) for model in workload.models)
        key = (npu, workload.models, workload.batches, workload.hoist_inputs, programs)
        if key not in cls._tables:
            cls._tables[key] = cls(npu, workload)
        return cls._tables[key]

    def __init__(self, npu: NPUConfig, workload: WorkloadConfig) -> None:
        self.npu = npu
        self.hoist_inputs = workload.hoist_inputs
        self.keys: list[Key] = []
        self._rows: dict[Key, int] = {}
        self._extra: dict[int, int] = {}
        # Programs are told apart by id, which holds only as long as they live: a replaced one must not give its id to another.
        self._alive = [REGISTERED[model] for model in workload.models if model in REGISTERED]
        self.mixes = np.zeros((len(workload.models), len(workload.batches)), MIX)
        wanted = list(self._keys(workload))
        self.library = self._load(workload, wanted)
        for key in wanted:
            self._note(key)

    @property
    def arrays(self) -> ProgramLibrary:
        """The concatenated tables: ``runs``, ``blocks``, ``segments``, ``programs``, ``totals``."""
        return self.library

    def _keys(self, workload: WorkloadConfig) -> Iterator[Key]:
        """Yield the keys of all rows in order, and note in ``mixes`` where each model and batch starts."""
        row = 0
        for i, model in enumerate(workload.models):
            for j, batch in enumerate(workload.batches):
                self.mixes[i, j] = _mix(model, row)
                lengths = _lengths(MODELS[model].lengths) if model in MODELS else [None]
                row += len(lengths)
                yield from (Key(model, batch, length) for length in lengths)

    def _load(self, workload: WorkloadConfig, wanted: list[Key]) -> ProgramLibrary:
        def build() -> ProgramLibrary:
            log.info("compiling %d programs (once for this NPU and workload)", len(wanted))
            library = ProgramLibrary()
            for key in wanted:
                library.add(self._compile(key))
            return library

        if any(model not in MODEL_NAMES for model in workload.models):
            return build()
        return cached_library(repr((self.npu, workload.models, workload.batches, self.hoist_inputs)), build)

    def _compile(self, key: Key) -> Program:
        if key.model in REGISTERED:
            return REGISTERED[key.model]
        return compile_program(MODELS[key.model], key.batch, self.npu, key.input_length, hoist_inputs=self.hoist_inputs)

    def _note(self, key: Key) -> int:
        row = len(self.keys)
        self.keys.append(key)
        self._rows.setdefault(key, row)
        return row

    def row(self, key: Key) -> int:
        """Return the row of ``key``, compiling it if it is new."""
        if key.model in REGISTERED:
            program = REGISTERED[key.model]
            if id(program) not in self._extra:
                self._alive.append(program)
                self._extra[id(program)] = self._note(key)
                self.library.add(program)
            return self._extra[id(program)]
        if key not in self._rows:
            self.library.add(self._compile(key))
            self._note(key)
        return self._rows[key]

    def choose(self, index: int, task: TraceTask) -> tuple[int, int]:
        """Return (program row, output length) of entry ``index`` of a trace; raises :class:`TraceError` for bad lengths."""
        spec = MODELS[task.model].lengths if task.model in MODELS else None
        length = _checked_input(index, task, spec)
        return self.row(Key(task.model, task.batch, length)), _checked_output(index, task, spec, length)


def _checked_input(index: int, task: TraceTask, spec: LengthSpec | None) -> int | None:
    given = task.input_length
    if spec is None:
        if given is not None:
            raise TraceError(f"trace[{index}]['input_length'] = {given}: {task.model} takes none; leave it out or null.")
        return None
    if given is None:
        return round(spec.median)
    if not spec.min <= given <= spec.max:
        raise TraceError(f"trace[{index}]['input_length'] = {given}: must be from {spec.min} to {spec.max} for {task.model}.")
    return given


def _checked_output(index: int, task: TraceTask, spec: LengthSpec | None, length: int | None) -> int:
    given = task.output_length
    if spec is None or spec.ratio is None or length is None:
        if given is not None and (spec is not None or given != 1):
            raise TraceError(f"trace[{index}]['output_length'] = {given}: {task.model} takes none; leave it out or null.")
        return 1
    if given is None:
        return predicted_output_length(spec, length)
    if given > spec.max_output:
        raise TraceError(f"trace[{index}]['output_length'] = {given}: must be from 1 to {spec.max_output} for {task.model}.")
    return given
