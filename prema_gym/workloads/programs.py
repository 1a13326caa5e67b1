"""The program table of a workload on a row's NPUs: every program an episode can draw, and those that injected traces ask for."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np

from prema_gym.checks import MOST_CYCLES, is_whole, new_name
from prema_gym.config import NPUConfig, WorkloadConfig
from prema_gym.errors import ConfigError, ModelError, TraceError, shown, unknown_name
from prema_gym.hardware.library import ProgramLibrary, Stored, cached_library, comes_with_package, library_key
from prema_gym.hardware.program import Program, compile_model
from prema_gym.workloads.importing.file import from_file, is_file_name
from prema_gym.workloads.lengths import LengthSpec, predicted_output_length
from prema_gym.workloads.models import BUILT_IN, MEASURED, MODELS, Model, register_model
from prema_gym.workloads.models.measured import MeasuredModel
from prema_gym.workloads.predictor import predict_cycles
from prema_gym.workloads.sizes import Key, Name, sized_programs, sizes_of
from prema_gym.workloads.trace import TraceTask

Registered: TypeAlias = "Program | Mapping[NPUConfig, Program]"
REGISTERED: dict[str, Registered | Mapping[int, Registered]] = {}
"""Synthetic programs by name (see :func:`register_program`): one for all NPUs or one for each configuration, or these by batch."""

_MOST_BATCH = 1 << 20
_CONTEXTS = ("save_bytes", "restore_bytes")

log = logging.getLogger(__name__)


def register_program(name: str, program: Program | Mapping[Any, Any]) -> None:
    """Let traces and workloads name ``program`` as a model, at any batch. Registering a name again replaces it.

    A compiled program whose ``predicted_cycles`` was left alone is told to schedulers as Algorithm 1 predicts it, not as it is. It
    plays as it was compiled, whatever the environment's NPU; a mapping from NPU configurations (or names of presets) to programs
    tells what it is on each. A mapping from numbers of samples to either, ``{1: one, 2: two, 4: four}``, says what it is at each
    batch: with ``batching`` its requests then run together, up to the largest of the powers of two that are given without a gap.
    """
    new_name(f"register_program({shown(name)}, ...)", name)
    if name in MODELS:
        raise ConfigError(f"register_program({name!r}): the name belongs to a network of MODELS; choose another.")
    if isinstance(program, Mapping) and program and all(is_whole(batch, 1, _MOST_BATCH) for batch in program):
        REGISTERED[name] = {int(batch): _on_npus(name, entry) for batch, entry in program.items()}
    else:
        REGISTERED[name] = _on_npus(name, program)


def _on_npus(name: str, program: object) -> Registered:
    """Return a program with its prediction, or one for each configuration; raises :class:`ConfigError` for anything else."""
    programs: list[Any] = list(program.values()) if isinstance(program, Mapping) else [program]
    if not programs or not all(isinstance(entry, Program) for entry in programs):
        raise ConfigError(
            f"register_program({name!r}, {shown(program)}): must be a Program, as compile_model or Program.from_points return, "
            "or a mapping from NPU configurations to programs, or one from numbers of samples to either."
        )
    if isinstance(program, Mapping):
        return {NPUConfig.coerce(npu): _predicted(entry) for npu, entry in program.items()}
    return _predicted(programs[0])


def by_batch(found: object) -> Mapping[int, Registered] | None:
    """Return a registered program by its batches; None where it is the same at any."""
    return found if isinstance(found, Mapping) and all(isinstance(key, int) for key in found) else None


def registered_program(name: str, batch: int, npu: NPUConfig) -> Program:
    """Return the program registered as ``name`` at ``batch`` for ``npu``; raises :class:`ConfigError` where there is none."""
    found: Any = REGISTERED[name]
    sizes = by_batch(found)
    if sizes is not None:
        if batch not in sizes:
            raise ConfigError(f"model {name!r}: batch = {batch}: is registered at {', '.join(map(str, sorted(sizes)))} only.")
        found = sizes[batch]
    if isinstance(found, Program):
        return found
    if npu not in found:
        raise ConfigError(f"model {name!r} is registered for {len(found)} NPU configurations, and {npu} is none of them.")
    return cast("Program", found[npu])


def _in_time(program: Program, npu: NPUConfig) -> Program:
    """Return ``program``; raises :class:`ModelError` where its contexts take too long to save or restore on ``npu``."""
    sizes = [int(program.runs[name].max()) + int(program.segments[name].max()) for name in _CONTEXTS] if len(program.runs) else [0]
    most = max(sizes)
    if most * npu.clock_hz >= 1 << 62 or npu.context_cycles(most) > MOST_CYCLES:
        raise ModelError(
            f"program {program.name!r}: to save or restore a context of {most} bytes on {npu.label} takes too long: at most 2^57 "
            "cycles, and bytes * clock_hz must be below 2^62."
        )
    return program


def _predicted(program: Program) -> Program:
    if program.source is None or program.predicted_cycles != program.total_cycles:
        return program
    network, batch, npu, _ = program.source
    return dataclasses.replace(program, predicted_cycles=predict_cycles(network, batch, npu, output_length=1))


class KnownModels(Collection[str]):
    """Every name that a trace or a workload may use. Asking for the name of a file loads the network in it, once a process.

    Raises :class:`ModelError` where such a file is missing or damaged.
    """

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        found = name in MODELS or name in MEASURED or name in REGISTERED
        if not found and is_file_name(name):
            register_model(from_file(name))
            return True
        return found

    def __iter__(self) -> Iterator[str]:
        return iter((*MODELS, *MEASURED, *REGISTERED))

    def __len__(self) -> int:
        return len(MODELS) + len(MEASURED) + len(REGISTERED)


def known_models() -> KnownModels:
    """Return every name that a trace or a workload may use."""
    return KnownModels()


def has_size(model: str, size: int) -> bool:
    """Return whether there is a program of ``model`` for a batch of ``size`` samples."""
    if model in REGISTERED:
        sizes = by_batch(REGISTERED[model])
        return sizes is not None and size in sizes
    return model not in MEASURED or size <= MEASURED[model].batches[-1]


def find_model(name: str) -> Model | MeasuredModel:
    """Return the network called ``name``, or the one in the file of that name; raises :class:`ModelError` for an unknown one."""
    if name not in known_models() or name in REGISTERED:
        raise ModelError(unknown_name("model", name, (*MODELS, *MEASURED)))
    return MODELS[name] if name in MODELS else MEASURED[name]


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


def _shortest(networks: tuple[tuple[str, int], ...]) -> tuple[object, ...]:
    """Return (models, batches) where ``networks`` are all pairs of them: the mix that says the same shares their library."""
    models, batches = (tuple(dict.fromkeys(column)) for column in zip(*networks, strict=True))
    return (models, batches) if tuple(itertools.product(models, batches)) == networks else (networks,)


def _key_of(npu: NPUConfig, networks: tuple[tuple[str, int], ...], hoist_inputs: bool, own: Sequence[str] = ()) -> str:
    """Return the key of a library; ``own`` says what networks that aren't built in contain."""
    return library_key(repr((npu, *_shortest(networks), hoist_inputs, list(own))))


class ProgramTable:
    """Program rows by :class:`Key`; it only grows, so a row number stays valid.

    On C distinct configurations the rows of what episodes draw lie C times behind each other, ``stride`` rows apart; the C rows of
    a program that was added later follow each other. :meth:`row` names that of the first configuration, :meth:`row_on` any.
    """

    _tables: ClassVar[dict[tuple[object, ...], ProgramTable]] = {}

    @classmethod
    def of(cls, configurations: tuple[NPUConfig, ...], workload: WorkloadConfig, batching: int = 1) -> ProgramTable:
        """Return the table of ``workload`` on distinct ``configurations``, shared by all simulators of this process.

        Where up to ``batching`` samples run together, it has every model at every size of batch too.
        """
        models = tuple(dict.fromkeys(model for model, _ in workload.networks))
        for model in models:
            if model not in known_models():
                field = "models" if workload.mix is None else "mix"
                raise ConfigError(f"WorkloadConfig.{field}: {unknown_name('model', model, known_models())}")
        programs = tuple(id(REGISTERED.get(model)) for model in models)
        key = (configurations, workload.networks, workload.hoist_inputs, programs, sizes_of(batching))
        if key not in cls._tables:
            cls._tables[key] = cls(configurations, workload, batching)
        return cls._tables[key]

    def __init__(self, configurations: tuple[NPUConfig, ...], workload: WorkloadConfig, batching: int = 1) -> None:
        self.configurations = configurations
        self.hoist_inputs = workload.hoist_inputs
        self.keys: list[Key] = []
        self._names: list[Name] = []
        self._rows: dict[Key, int] = {}
        self._extra: dict[tuple[int, int], int] = {}
        self._sizes = sizes_of(batching)
        self._sized: tuple[np.ndarray, np.ndarray] | None = None
        # Programs are told apart by id, which holds only as long as they live: a replaced one must not give its id to another.
        self._alive = [REGISTERED[model] for model, _ in workload.networks if model in REGISTERED]
        models = dict.fromkeys(model for model, _ in workload.networks)
        more = [(model, size) for model in models for size in self._sizes if has_size(model, size)]
        self._networks = tuple(dict.fromkeys((*workload.networks, *more)))
        self._first: dict[tuple[str, int], int] = {}
        self.means: dict[str, list[float]] = {}
        """Expected isolated cycles on each configuration, by what is drawn (workloads/mixes.py)."""
        wanted = list(self._keys())
        self.stride = len(wanted)
        for key in wanted * len(configurations):
            self._note(key)
        self.library = ProgramLibrary.joined([self._load(npu) for npu in configurations])

    @property
    def arrays(self) -> ProgramLibrary:
        """The concatenated tables: ``runs``, ``blocks``, ``segments``, ``programs``, ``totals``."""
        return self.library

    def _keys(self) -> Iterator[Key]:
        """Yield the keys of all rows in order, and note where each model and batch starts."""
        row = 0
        for model, batch in self._networks:
            self._first[model, batch] = row
            lengths = _lengths(MODELS[model].lengths) if model in MODELS else [None]
            row += len(lengths)
            yield from (Key(model, batch, length) for length in lengths)

    def first_row(self, model: str, batch: int) -> int:
        """Return the row of a drawn model and batch at its shortest input, on the first configuration."""
        return self._first[model, batch]

    def build(self, npu: NPUConfig) -> ProgramLibrary:
        """Compile every program that an episode can draw on ``npu``, in the order of the rows."""
        keys = self.keys[: self.stride]
        known = self._shipped(npu)
        log.info("compiling %d programs (once for this NPU and workload)", sum(key not in known for key in keys))
        library = ProgramLibrary()
        for key in keys:
            library.add(known[key] if key in known else self._compile(key, npu))
        return library

    def _shipped(self, npu: NPUConfig) -> Mapping[Key, Stored]:
        """Return what comes with the package of programs on ``npu``: three of the five sizes of batch of the default networks."""
        default = WorkloadConfig(hoist_inputs=self.hoist_inputs)
        if not self._sizes or not comes_with_package(_key_of(npu, default.networks, default.hoist_inputs)):
            return {}
        table = ProgramTable((npu,), default)
        return {key: table.library.stored(row) for row, key in enumerate(table.keys)}

    def _load(self, npu: NPUConfig) -> ProgramLibrary:
        if any(model not in MODELS for model, _ in self._networks):
            return self.build(npu)
        return cached_library(self.library_key(npu), lambda: self.build(npu))

    def library_key(self, npu: NPUConfig) -> str:
        """Return what tells this workload's library on ``npu`` from others."""
        own = dict.fromkeys(model for model, _ in self._networks if model not in BUILT_IN)
        return _key_of(npu, self._networks, self.hoist_inputs, [self._content(model) for model in own])

    def _content(self, model: str) -> str:
        """Return what the programs of a model that isn't built in depend on: its layers at every input length."""
        found = MODELS[model]
        networks = [found.network(length, hoist_inputs=self.hoist_inputs) for length in _lengths(found.lengths)]
        return repr((found.lengths, networks))

    def _compile(self, key: Key, npu: NPUConfig) -> Program:
        if key.model in REGISTERED:
            return _in_time(registered_program(key.model, key.batch, npu), npu)
        if key.model in MEASURED:
            return _in_time(MEASURED[key.model].program(key.batch, npu), npu)
        return compile_program(MODELS[key.model], key.batch, npu, key.input_length, hoist_inputs=self.hoist_inputs)

    def _note(self, key: Key) -> int:
        row = len(self.keys)
        self.keys.append(key)
        registered = REGISTERED.get(key.model)
        known = registered is None or by_batch(registered) is not None
        self._names.append(Name(key.model, 0 if registered is None else id(registered), known))
        self._rows.setdefault(key, row)
        return row

    def row(self, key: Key) -> int:
        """Return the row of ``key`` on the first configuration, compiling it if it is new, at every size of batch too."""
        row = self._row(key)
        for size in self._sizes:
            if has_size(key.model, size):
                self._row(key._replace(batch=size))
        return row

    def _row(self, key: Key) -> int:
        if key.model in REGISTERED:
            program = REGISTERED[key.model]
            known = (id(program), key.batch)
            if known not in self._extra:
                self._extra[known] = self._add(key)
                self._alive.append(program)
            return self._extra[known]
        if key not in self._rows:
            self._add(key)
        return self._rows[key]

    @property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """What each program is a program of, (P,) SIZED, and the rows of the same at every size of batch, (P, S) int32 or NONE.

        S = 0 where requests run one by one.
        """
        if self._sized is None or len(self._sized[0]) != len(self.keys):
            self._sized = sized_programs(self.keys, self._names, self._sizes, self._configuration_of)
        return self._sized

    @property
    def models(self) -> list[str]:
        """The networks by name, in the order of the numbers that SIZED gives them."""
        return [name.model for name in dict.fromkeys(self._names)]

    def _configuration_of(self, row: int) -> int:
        if row < self.stride * len(self.configurations):
            return row // self.stride
        return (row - self.stride * len(self.configurations)) % len(self.configurations)

    def _add(self, key: Key) -> int:
        """Append the programs of ``key`` on all configurations; return the row of the first."""
        programs = [self._compile(key, npu) for npu in self.configurations]
        first = len(self.keys)
        for program in programs:
            self.library.add(program)
            self._note(key)
        return first

    def row_on(self, row: int, configuration: int) -> int:
        """Return the row on the given configuration of the program whose row on the first is ``row``."""
        return row + configuration * (self.stride if row < self.stride else 1)

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
