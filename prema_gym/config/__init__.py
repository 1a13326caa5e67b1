"""Configurations: the NPU, the workload and the environment, as frozen dataclasses with named presets.

All fields are plain numbers, strings or tuples of them, so a configuration is JSON on the way in and out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, Self

from prema_gym.checks import MOST_CYCLES, is_number, is_whole, new_name, one_of
from prema_gym.config.base import Config, check, refuses_unknown_fields
from prema_gym.config.requests import ArrivalsConfig
from prema_gym.config.scenarios import with_scenario
from prema_gym.config.workload import MODEL_NAMES, PRIORITIES, WorkloadConfig
from prema_gym.errors import ConfigError, shown

__all__ = [
    "BUILT_IN_NPUS",
    "MECHANISMS",
    "MODEL_NAMES",
    "MOST_NPUS",
    "PRIORITIES",
    "STREAM_SLOTS",
    "WEIGHT_LOADINGS",
    "Config",
    "DramPort",
    "EnvConfig",
    "NPUConfig",
    "WorkloadConfig",
    "context_cycles",
    "level_bits",
    "mechanism_bits",
    "register_npu",
]

STREAM_SLOTS = 16
"""Slots of a stream's table where nothing else is said."""
HORIZON_REQUESTS = 512
"""Requests of a stream where nothing else is said."""
STREAM_ARRIVALS = ArrivalsConfig(process="poisson", utilisation=0.9)
"""Arrivals of a stream where nothing else is said."""
_LARGEST_FIELD = (1 << 42) - 1
"""Of whole numbers of an NPU, and of the quantum."""
_MOST_COUNT = (1 << 31) - 1
"""Of requests and of quanta."""
MOST_NPUS = 64
MOST_BATCHING = 64
"""NPUs that a row may have."""
MECHANISMS = ("CHECKPOINT", "KILL", "DRAIN")
"""Preemption mechanisms in the order of the action columns."""
WEIGHT_LOADINGS = ("exposed", "prefetched", "back_to_back")
"""When a tile's weights move into the array: before its rows do, behind the tile before it, or behind rows that never pause."""


def mechanism_bits(mechanisms: Iterable[str]) -> int:
    """Return the mask that compiled code reads: bit m is set where the m-th of :data:`MECHANISMS` may evict."""
    return sum(1 << MECHANISMS.index(mechanism) for mechanism in mechanisms)


def level_bits(priorities: Iterable[int]) -> int:
    """Return the mask that compiled code reads: bit p - 1 is set where priority p, from 1 to 64, is one of ``priorities``."""
    bits = 0
    for priority in priorities:
        bits |= 1 << (priority - 1)
    return bits


class DramPort(Protocol):
    """What the time of a transfer depends on: an :class:`NPUConfig` has it, and so has the record RULES in compiled code."""

    @property
    def clock_hz(self) -> int: ...  # noqa: D102  # the fields of NPUConfig
    @property
    def dram_bytes_per_second(self) -> int: ...  # noqa: D102
    @property
    def dram_latency_cycles(self) -> int: ...  # noqa: D102


def context_cycles(port: DramPort, nbytes: int) -> int:
    """Cycles to save or restore a context of ``nbytes``: latency plus ceil(bytes / bytes per cycle), exact; 0 at 0 bytes.

    The simulator compiles this very function.
    """
    if nbytes == 0:
        return 0
    return port.dram_latency_cycles + (nbytes * port.clock_hz + port.dram_bytes_per_second - 1) // port.dram_bytes_per_second


@refuses_unknown_fields
@dataclasses.dataclass(frozen=True)
class NPUConfig(Config):
    """A weight-stationary systolic array with its buffers and memory. Defaults are the paper's table I where it gives them."""

    array_rows: int = 128
    """SH: rows of the array, the K extent of a weight tile."""
    array_cols: int = 128
    """SW: columns of the array, the N extent of a weight tile."""
    clock_hz: int = 700_000_000
    ubuf_bytes: int = 8 << 20
    """Unified buffer: activations."""
    wbuf_bytes: int = 4 << 20
    """Weight buffer."""
    accumulator_rows: int = 2048
    """ACC: rows of one of the two accumulator buffers; the longest row chunk (our choice)."""
    vector_lanes: int = 128
    """Element operations per cycle of the vector unit (our choice)."""
    dram_bytes_per_second: int = 358_000_000_000
    dram_channels: int = 8
    """Channels that together give the bandwidth; transfers stripe over all of them."""
    dram_latency_cycles: int = 100
    operand_bytes: int = 2
    """Bytes of an activation or weight (our choice)."""
    accumulator_bytes: int = 4
    """Bytes of a partial sum (our choice)."""
    weight_loading: str = "back_to_back"
    """When a tile's weights move into the array. ``"exposed"``: before its rows do. ``"prefetched"``: behind the tile before
    it, except on a cold start. ``"back_to_back"``: likewise, and the rows of a layer's tiles follow each other without a gap;
    weights of a loop stay on the chip where they fit."""

    RENAMED: ClassVar[Mapping[str, tuple[str, Mapping[bool, str]]]] = {
        "weight_prefetch": ("weight_loading", {True: "prefetched", False: "exposed"})
    }
    PRESETS: ClassVar[dict[str, Mapping[str, Any]]] = {
        "prema": {},
        "tpu_v1": {
            "array_rows": 256,
            "array_cols": 256,
            "ubuf_bytes": 24 << 20,
            "wbuf_bytes": 4 << 20,
            "vector_lanes": 256,
            "dram_bytes_per_second": 34_000_000_000,
            "dram_channels": 2,
            "operand_bytes": 1,
        },
        "edge": {
            "array_rows": 32,
            "array_cols": 32,
            "ubuf_bytes": 1 << 20,
            "wbuf_bytes": 512 << 10,
            "accumulator_rows": 512,
            "vector_lanes": 32,
            "dram_bytes_per_second": 25_600_000_000,
            "dram_channels": 2,
            "operand_bytes": 1,
        },
    }

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("clock_hz", "dram_bytes_per_second"):
            value = getattr(self, field)
            if is_number(value) and float(value).is_integer():
                object.__setattr__(self, field, int(value))
        for field in (entry.name for entry in dataclasses.fields(self)):
            value = getattr(self, field)
            if field == "weight_loading":
                self._check_weight_loading()
                continue
            least = 0 if field == "dram_latency_cycles" else 1
            check(name, field, value, is_whole(value, least, _LARGEST_FIELD), f"a whole number from {least} to 2^42 - 1")
        tile_bytes = self.array_rows * self.array_cols * self.operand_bytes
        check(
            name,
            "wbuf_bytes",
            self.wbuf_bytes,
            self.wbuf_bytes >= 2 * tile_bytes,
            f"at least two weight tiles ({2 * tile_bytes} bytes)",
        )
        slice_bytes = 2 * self.array_rows * self.operand_bytes
        check(
            name,
            "ubuf_bytes",
            self.ubuf_bytes,
            self.ubuf_bytes >= slice_bytes,
            f"at least two rows of the array ({slice_bytes} bytes)",
        )
        self._check_memory_time()

    def _check_weight_loading(self) -> None:
        one_of("mode", self.weight_loading, WEIGHT_LOADINGS, where=f"{type(self).__name__}.weight_loading: ")

    def _check_memory_time(self) -> None:
        """See that the buffer's transfer is counted in 64 bits."""
        if self.ubuf_bytes * self.clock_hz >= 1 << 62 or self.context_cycles(self.ubuf_bytes) > MOST_CYCLES:
            raise ConfigError(
                f"NPUConfig: with ubuf_bytes = {self.ubuf_bytes}, clock_hz = {self.clock_hz} and dram_bytes_per_second = "
                f"{self.dram_bytes_per_second}, to save the buffer takes too long: at most 2^57 cycles, and ubuf_bytes * clock_hz "
                "must be below 2^62."
            )

    @property
    def preset_name(self) -> str | None:
        """The preset that it is; None where it is none."""
        return next((name for name in self.PRESETS if NPUConfig.preset(name) == self), None)

    @property
    def label(self) -> str:
        """The preset that it is, else the size of its array, as in "64x64"."""
        return self.preset_name or f"{self.array_rows}x{self.array_cols}"

    def transfer_cycles(self, nbytes: int) -> int:
        """Cycles to move ``nbytes`` over the DRAM port, latency apart: ceil(bytes / bytes per cycle), in exact integers."""
        return self.context_cycles(nbytes) - self.dram_latency_cycles if nbytes else 0

    def context_cycles(self, nbytes: int) -> int:
        """Cycles to save or restore a context of ``nbytes``: see :func:`context_cycles`."""
        return context_cycles(self, nbytes)

    def ms(self, cycles: float) -> float:
        """Return ``cycles`` in milliseconds."""
        return 1e3 * cycles / self.clock_hz


BUILT_IN_NPUS = tuple(NPUConfig.PRESETS)


def register_npu(name: str, npu: NPUConfig) -> NPUConfig:
    """Let ``npu=name`` mean ``npu``, and return it. Your own may be replaced, a built-in preset may not."""
    if not isinstance(npu, NPUConfig):
        raise ConfigError(f"register_npu({shown(name)}, {shown(npu)}): must be an NPUConfig.")
    new_name(f"register_npu({shown(name)}, ...)", name)
    if name in BUILT_IN_NPUS:
        raise ConfigError(f"register_npu({name!r}, ...): must differ from the built-in presets ({', '.join(BUILT_IN_NPUS)}).")
    NPUConfig.PRESETS[name] = npu.to_dict()
    return npu


def _is_reward(value: object) -> bool:
    """Whether ``value`` has the form of a reward; whether its terms are known is seen where they are."""
    named = isinstance(value, Mapping) and all(isinstance(key, str) and is_number(weight) for key, weight in value.items())
    return named or isinstance(value, str)


@refuses_unknown_fields
@dataclasses.dataclass(frozen=True)
class EnvConfig(Config):
    """Everything ``gym.make("Prema-v0", ...)`` takes; nested configurations may be given as names or mappings."""

    npu: NPUConfig = NPUConfig()
    """The NPU; with ``npus`` the first of them."""
    npus: tuple[NPUConfig, ...] | None = None
    """The NPUs of a row, behind one context table: ``["prema", "prema", "edge"]``, or names as on the command line,
    ``"prema,prema,edge"``. None is one, ``npu``."""
    workload: WorkloadConfig = WorkloadConfig()  # noqa: RUF009  # frozen
    reward: str | Mapping[str, float] = "weighted_antt"
    """A reward term's name, or a mapping from names to weights."""
    mechanisms: tuple[str, ...] = MECHANISMS
    """Mechanisms that the mask offers for evicting a running task."""
    slots: int | None = None
    """T: rows of the context table; None means ``num_tasks``, and it is never fewer; on a stream None means 16."""
    horizon_requests: int | None = None
    """H: a number makes an episode a stream, which is truncated when its H-th request arrives; None is a closed episode, 512 where
    closed clients send the requests, and where a file lists them all of its requests."""
    decision_every: int | None = None
    """Quanta between decisions asked by the quantum; None asks on arrivals and completions only."""
    quantum_cycles: int = 175_000
    """0.25 ms at 700 MHz (paper, section VI)."""
    scheduler_latency_cycles: int = 0
    """NPU time that each asked decision costs."""
    batching: int = 1
    """B: most samples that run together as one batch; waiting requests of the network that is dispatched join it. 1: none do."""
    allow_idle: bool = False
    """True lets an idle NPU stay so whenever another is busy, though tasks wait."""
    strict: bool = False
    """True raises on an illegal action in place of replacing it."""

    PARTS: ClassVar[Mapping[str, type[Config]]] = {"workload": WorkloadConfig, "npu": NPUConfig}

    @classmethod
    def coerce(cls, value: Self | str | Mapping[str, Any] | None) -> Self:
        """Return ``value`` as a configuration, a mapping's ``scenario`` filled in: see :func:`with_scenario`."""
        return super().coerce(with_scenario(value) if isinstance(value, Mapping) else value)

    def __post_init__(self) -> None:
        name = type(self).__name__
        self._check_npus()
        object.__setattr__(self, "workload", WorkloadConfig.coerce(self.workload))
        self._check_arrivals()
        mechanisms = self.mechanisms
        if isinstance(mechanisms, str):
            mechanisms = (mechanisms,)
        check(
            name,
            "mechanisms",
            mechanisms,
            isinstance(mechanisms, (list, tuple)) and len(mechanisms) > 0,
            f"a non-empty list drawn from {MECHANISMS}",
        )
        for mechanism in mechanisms:
            one_of("mechanism", mechanism, MECHANISMS, where=f"{name}.mechanisms: ")
        object.__setattr__(self, "mechanisms", tuple(mechanism for mechanism in MECHANISMS if mechanism in mechanisms))
        self._check_whole("slots", 1, 4096, or_none=True)
        self._check_whole("horizon_requests", 2, _MOST_COUNT, or_none=True)
        self._check_whole("decision_every", 1, _MOST_COUNT, or_none=True)
        self._check_whole("quantum_cycles", 1, _LARGEST_FIELD)
        self._check_whole("scheduler_latency_cycles", 0, (1 << 32) - 1)
        self._check_whole("batching", 1, MOST_BATCHING)
        rule = "a reward term's name, or a mapping from names to numbers"
        check(name, "reward", self.reward, _is_reward(self.reward), rule)
        check(name, "strict", self.strict, isinstance(self.strict, bool), "True or False")
        check(name, "allow_idle", self.allow_idle, isinstance(self.allow_idle, bool), "True or False")

    def _check_whole(self, field: str, least: int, most: int, *, or_none: bool = False) -> None:
        value = getattr(self, field)
        rule = f"{'None or ' if or_none else ''}a whole number from {least} to {most}"
        check(type(self).__name__, field, value, (or_none and value is None) or is_whole(value, least, most), rule)

    def _check_npus(self) -> None:
        """Make configurations of ``npu`` and ``npus``, and see that they agree."""
        given, one = self.npus, NPUConfig.coerce(self.npu)
        if given is None:
            object.__setattr__(self, "npu", one)
            return
        if isinstance(given, str):
            given = [name.strip() for name in given.split(",")]
        ok = isinstance(given, (list, tuple)) and 1 <= len(given) <= MOST_NPUS
        check(type(self).__name__, "npus", given, ok, f"None, or a list of 1 to {MOST_NPUS} NPU configurations")
        npus = tuple(NPUConfig.coerce(npu) for npu in given)
        clocks = sorted({npu.clock_hz for npu in npus})
        if len(clocks) > 1:
            raise ConfigError(
                f"EnvConfig.npus: clock_hz of {clocks}: all NPUs must share one clock, in which all times are counted."
            )
        if one not in (NPUConfig(), npus[0]):
            raise ConfigError("EnvConfig: npu and npus are both given, and npu is not the first of npus; give one of them.")
        object.__setattr__(self, "npu", npus[0])
        object.__setattr__(self, "npus", npus if len(npus) > 1 else None)

    def _check_arrivals(self) -> None:
        """See that the arrivals suit a stream or a closed episode; a stream's are Poisson unless told otherwise."""
        if self.stream and self.workload.arrivals is None:
            object.__setattr__(self, "workload", dataclasses.replace(self.workload, arrivals=STREAM_ARRIVALS))
        arrivals = self.workload.arrivals
        if arrivals is None:
            return
        if self.stream and arrivals.process == "window":
            raise ConfigError("ArrivalsConfig.process = 'window': requests of a stream are poisson, bursty, closed or of a trace.")
        if arrivals.process == "trace" and self.workload.mix is not None:
            raise ConfigError("WorkloadConfig.mix: must be left out where arrivals are a trace, which says what is asked for.")
        if arrivals.process == "closed" and arrivals.clients > self.num_slots:
            raise ConfigError(
                f"ArrivalsConfig.clients = {arrivals.clients!r}: must be at most the slots of the table, {self.num_slots} here: "
                "each client has one request at a time."
            )

    @property
    def all_npus(self) -> tuple[NPUConfig, ...]:
        """The M NPUs of a row."""
        return (self.npu,) if self.npus is None else self.npus

    @property
    def configurations(self) -> tuple[NPUConfig, ...]:
        """The C distinct configurations among them, in order of first appearance."""
        return tuple(dict.fromkeys(self.all_npus))

    @property
    def stream(self) -> bool:
        """Whether requests keep coming: where ``horizon_requests`` is given, closed clients send them, or a file lists them.

        Else an episode is closed: it has ``num_tasks`` tasks.
        """
        arrivals = self.workload.arrivals
        return self.horizon_requests is not None or (arrivals is not None and arrivals.process in ("closed", "trace"))

    @property
    def horizon(self) -> int:
        """H: the arrival that truncates a stream; 0 where episodes are closed."""
        return (self.horizon_requests or HORIZON_REQUESTS) if self.stream else 0

    @property
    def num_slots(self) -> int:
        """T: ``slots``, in closed episodes never fewer than ``num_tasks``; 16 by default on a stream."""
        if self.stream:
            return self.slots or STREAM_SLOTS
        return max(self.slots or 0, self.workload.num_tasks)
