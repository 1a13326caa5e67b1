"""Compiled programs: what a scheduler can preempt, where, at what cost. The public face of the hardware model.

:func:`compile_model` makes a :class:`Program` of a network; :mod:`prema_gym.hardware.library` holds many for the simulator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from prema_gym.checks import MOST_CYCLES, new_name, whole
from prema_gym.config import NPUConfig
from prema_gym.errors import ModelError, shown
from prema_gym.hardware.compiler.encoding import SPAN, encode
from prema_gym.hardware.compiler.lowering import Lowering, lower, network_works
from prema_gym.hardware.compiler.schedule import Schedule, schedule
from prema_gym.hardware.compiler.shapes import check_layer, input_elements, output_elements
from prema_gym.hardware.compiler.timing import TIMED
from prema_gym.hardware.layers import LayerBase, Loop, Network
from prema_gym.hardware.listing import Roofline, disassemble, layer_table, roofline
from prema_gym.types import BLOCK, RUN, SEGMENT

Ints = npt.NDArray[np.int64]
MOST_LENGTHS = 1 << 20
"""Of outputs."""
Costs = int | Sequence[int] | npt.NDArray[np.integer[Any]]


class HasNetwork(Protocol):
    """A model of the library: anything that builds a network for an input length."""

    def network(self, input_length: int | None = None) -> Network:
        """Return the layers at ``input_length``."""


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A network at one batch on one NPU, compiled to preemption points.

    Positions are cycles of undisturbed execution since a cold start. A program of unknown output length has one total per length;
    its properties describe the longest.
    """

    name: str
    runs: np.ndarray
    """(R,) RUN."""
    blocks: np.ndarray
    """(B,) BLOCK; ``first_run`` counts in ``runs``."""
    segments: np.ndarray
    """(S,) SEGMENT in program order; ``block`` counts in ``blocks``."""
    totals: Ints
    """(lengths,) total cycles by output length 1, 2, ...; one entry where the length is fixed."""
    num_points: int
    """Preemption points, at the longest output."""
    compute_cycles: int
    """Sum of the durations of all compute operations."""
    dram_bytes: int
    """Loaded and stored."""
    predicted_cycles: int
    """What schedulers are told; the true total unless a predictor has said otherwise."""
    length_estimated: bool = False
    """Whether ``predicted_cycles`` rests on a guessed output length."""
    source: tuple[Network, int, NPUConfig, int] | None = dataclasses.field(default=None, repr=False)
    """(network, batch, npu, output_lengths) of a compiled program, for its tables."""

    def __post_init__(self) -> None:
        new_name("Program", self.name, error=ModelError)
        what = f"program {self.name!r}: "
        whole(f"{what}total_cycles", self.totals[-1], 1, MOST_CYCLES, error=ModelError)
        predicted = whole(f"{what}predicted_cycles", self.predicted_cycles, 1, MOST_CYCLES, error=ModelError)
        object.__setattr__(self, "predicted_cycles", predicted)

    @property
    def total_cycles(self) -> int:
        """Cycles from the cold start to the later of the last compute and the last store."""
        return int(self.totals[-1])

    @property
    def commit_cycles(self) -> Ints:
        """(points,) positions of the preemption points, strictly increasing."""
        return self._expand("step_cycles")

    @property
    def save_bytes(self) -> Ints:
        """(points,) context to save."""
        return self._expand("save_bytes")

    @property
    def restore_bytes(self) -> Ints:
        """(points,) context to restore: what was saved, and what has a copy in memory."""
        return self._expand("restore_bytes")

    @property
    def refill_cycles(self) -> Ints:
        """(points,) what the empty pipeline takes beyond running on."""
        return self._expand("refill_cycles")

    def layer_table(self) -> list[dict[str, Any]]:
        """Return one row per layer: name, kind, passes, macs, GEMMs' m, k, n and groups, cycles, dram_bytes, points, bound.

        ``cycles`` is the layer's share of the timeline, and sums to the total. ``compute_cycles`` and ``memory_cycles`` are how
        long its engines and the memory port are busy; ``fill_cycles`` is the part of the former in which nothing streams through
        the array (weights in, fill, drain). ``bound`` is what takes longest: "memory", "fill", or "compute", the rest of computing.
        ``dram_cycles``, ``peak_cycles`` and ``roofline_cycles`` are those of :meth:`roofline`, layer by layer.
        """
        return layer_table(*self._recompiled("layer_table"))

    def roofline(self) -> Roofline:
        """Return the DRAM time and the time at peak MACs of the longest output: no schedule on this NPU is shorter than either."""
        network, batch, npu, output_lengths = self._source("roofline")
        graph, works = network_works(network, batch, npu)
        passes = [1 if node.loop < 0 else graph.loops[node.loop].steps or output_lengths for node in graph.nodes]
        return roofline(self.dram_bytes, sum(times * work.macs for times, work in zip(passes, works, strict=True)), npu)

    def disassemble(self, limit: int | None = None) -> Iterator[str]:
        """Yield the instructions LOAD_TILE, GEMM_OP, CONV_OP, VECTOR_OP and STORE_TILE in program order, at most ``limit``."""
        return disassemble(self._recompiled("disassemble")[0], limit)

    @classmethod
    def from_points(
        cls,
        total_cycles: int,
        commit_cycles: Iterable[int],
        save_bytes: Costs = 0,
        restore_bytes: Costs | None = None,
        refill_cycles: Costs = 0,
        predicted_cycles: int | None = None,
        name: str = "synthetic",
    ) -> Program:
        """Return a synthetic program with the given preemption points.

        Args:
            total_cycles: Duration; at least the last commit.
            commit_cycles: Positions of the points, from 1 on, strictly increasing.
            save_bytes: Per point, or one for all.
            restore_bytes: Likewise; ``save_bytes`` unless given.
            refill_cycles: Likewise.
            predicted_cycles: What schedulers are told; ``total_cycles`` unless given.
            name: For messages and tables.
        """
        return _from_points(cls, total_cycles, commit_cycles, save_bytes, restore_bytes, refill_cycles, predicted_cycles, name)

    def _source(self, what: str) -> tuple[Network, int, NPUConfig, int]:
        if self.source is None:
            raise ModelError(f"program {self.name!r} has no {what}: it was made of points, not of layers.")
        return self.source

    def _recompiled(self, what: str) -> tuple[Lowering, Schedule]:
        lowering = lower(*self._source(what))
        return lowering, schedule(lowering)

    def _expand(self, field: str) -> Ints:
        """Write out ``field`` of every point; ``step_cycles`` gives the positions."""
        parts: list[Ints] = []
        missing = self.num_points
        for segment in self.segments:
            block = self.blocks[segment["block"]]
            laps = min(int(segment["repeats"]), -(-missing // int(block["points"])))
            parts.append(self._expand_segment(segment, block, laps, field).ravel()[:missing])
            missing -= len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _expand_segment(self, segment: np.void, block: np.void, laps: int, field: str) -> Ints:
        runs = self.runs[block["first_run"] : block["first_run"] + block["runs"]]
        lap = np.arange(laps, dtype=np.int64)[:, None]
        points = runs["points"]
        values = np.repeat(runs[field].astype(np.int64), points)[None, :]
        if field == "refill_cycles":
            return values + 0 * lap
        if field != "step_cycles":
            return values + segment[field] + lap * segment[field.replace("bytes", "step_bytes")]
        nth = np.arange(points.sum()) - np.repeat(np.cumsum(points) - points, points) + 1
        commits = np.repeat(runs["start_cycles"], points) + nth * values
        return commits + segment["start_cycles"] + lap * block["cycles"]


def compile_model(
    model: Network | HasNetwork | Sequence[LayerBase | Loop],
    batch: int = 1,
    npu: NPUConfig | None = None,
    output_lengths: int = 1,
    name: str | None = None,
    input_length: int | None = None,
    predicted_cycles: int | None = None,
) -> Program:
    """Compile a network to a :class:`Program`.

    Args:
        model: A :class:`Network`, a list of layers (chained; the first reads the network's input), or a model of the library.
        batch: Samples that run together.
        npu: The hardware; the paper's unless given. A preset's name or a mapping of fields will do.
        output_lengths: The longest output of a network that ends in an output loop; totals cover 1 up to it.
        name: For tables; the network's unless given.
        input_length: Of a model that takes one.
        predicted_cycles: What schedulers are told; the true total unless given.
    """
    network = _as_network(model, input_length)
    npu = NPUConfig.coerce(npu)
    whole("output_lengths", output_lengths, 1, MOST_LENGTHS, error=ModelError)
    if predicted_cycles is not None:  # before the work of compiling
        predicted_cycles = whole("predicted_cycles", predicted_cycles, 1, MOST_CYCLES, error=ModelError)
    if name is not None:
        new_name("compile_model(name=...)", name, error=ModelError)
    lowering = lower(network, batch, npu, int(output_lengths))
    timeline = schedule(lowering)
    source = (network, int(batch), npu, int(output_lengths))
    return _encoded(name or network.name, lowering, timeline, predicted_cycles, source)


def _as_network(model: Any, input_length: int | None) -> Network:
    if isinstance(model, Network):
        return model
    if isinstance(model, (list, tuple)):
        return Network("layers", _first_input(model), tuple(model))
    if hasattr(model, "network"):
        return model.network(input_length=input_length)
    raise ModelError(f"compile_model({shown(model)}): must be a Network, a list of layers or a model of MODELS.")


def _first_input(layers: Sequence[LayerBase | Loop]) -> int:
    """Return the elements of the input that a list of layers implies: what its first layer reads in all its steps."""
    if not layers:
        return 1
    first, steps = layers[0], 1
    if isinstance(first, Loop):
        steps = first.steps if isinstance(first.steps, int) else 1
        first = first.body[0] if isinstance(first.body, (tuple, list)) and first.body else first
    if isinstance(first, Loop) or not isinstance(first, LayerBase):
        return 1
    check_layer(first, first.name if isinstance(first.name, str) and first.name else "0")  # type: ignore[arg-type]
    return max(1, steps) * (input_elements(first) or output_elements(first))  # type: ignore[arg-type]


def _encoded(
    name: str, lowering: Lowering, timeline: Schedule, predicted: int | None, source: tuple[Network, int, NPUConfig, int]
) -> Program:
    timed = timeline.timed
    runs, blocks, segments = _encode(timed, timeline.spans, name)
    counted = (timeline.busy_cycles, timed["dram_bytes"], timed["point"])
    sums = [np.concatenate(([0], np.cumsum(values))) for values in counted]
    spans = timeline.weighted_spans()
    compute, dram, points = (sum(passes * int(s[end] - s[begin]) for begin, end, passes in spans) for s in sums)
    return Program(
        name=name,
        runs=runs,
        blocks=blocks,
        segments=segments,
        totals=timeline.totals,
        num_points=points,
        compute_cycles=compute + int(timed["cold_cycles"][0]),
        dram_bytes=dram,
        predicted_cycles=int(timeline.totals[-1]) if predicted is None else predicted,
        source=source,
    )


def _encode(timed: np.ndarray, spans: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (runs, blocks, segments) of a timeline."""
    runs = np.zeros(int(np.count_nonzero(timed["point"])), RUN)
    blocks, segments = np.zeros(len(spans), BLOCK), np.zeros(len(spans), SEGMENT)
    num_runs, num_segments = encode(timed, spans, runs, blocks, segments)
    if num_runs < 0:
        raise ModelError(f"program {name!r}: an operation's cycles, or a context's bytes, need more than 31 bits.")
    return runs[:num_runs].copy(), blocks[:num_segments].copy(), segments[:num_segments].copy()


def _from_points(
    cls: type[Program],
    total_cycles: int,
    commit_cycles: Iterable[int],
    save_bytes: Costs,
    restore_bytes: Costs | None,
    refill_cycles: Costs,
    predicted_cycles: int | None,
    name: str,
) -> Program:
    new_name("Program.from_points(name=...)", name, error=ModelError)
    commits = _whole(name, "commit_cycles", _as_list(name, commit_cycles), None, 1)
    if np.any(np.diff(commits) <= 0):
        raise ModelError(f"program {name!r}: commit_cycles = {shown(commits.tolist())}: must be strictly increasing.")
    least = int(commits[-1]) if len(commits) else 1
    total = int(_whole(name, "total_cycles", total_cycles, 1, least)[0])
    predicted = total if predicted_cycles is None else int(_whole(name, "predicted_cycles", predicted_cycles, 1, 1)[0])
    timed = np.zeros(len(commits), TIMED)
    timed["point"] = True
    timed["commit"] = commits
    timed["save_bytes"] = _whole(name, "save_bytes", save_bytes, len(commits))
    timed["restore_bytes"] = (
        timed["save_bytes"] if restore_bytes is None else _whole(name, "restore_bytes", restore_bytes, len(commits))
    )
    timed["refill_cycles"] = _whole(name, "refill_cycles", refill_cycles, len(commits))
    spans = np.array([(0, len(commits), 1, 0, 0, -1)], SPAN)
    runs, blocks, segments = _encode(timed, spans, name)
    compute = int(commits[-1]) if len(commits) else 0
    return cls(name, runs, blocks, segments, np.array([total], np.int64), len(commits), compute, 0, predicted)


def _as_list(name: str, commit_cycles: Any) -> list[Any]:
    try:
        return list(commit_cycles)
    except TypeError:
        raise ModelError(f"program {name!r}: commit_cycles = {shown(commit_cycles)}: must be a list of whole numbers.") from None


def _whole(name: str, field: str, values: Any, size: int | None, least: int = 0) -> Ints:
    """Return ``values`` as (size,) whole numbers of at least ``least``; one value stands for all."""
    try:
        array = np.atleast_1d(np.asarray(values))
    except (TypeError, ValueError, OverflowError):
        array = np.empty((0, 0))  # no whole numbers
    if array.ndim == 1 and array.size == 0:
        array = array.astype(np.int64)
    ok = array.ndim == 1 and array.dtype.kind in "iu" and (size is None or array.size in (1, size))
    if not ok or np.any(array < least) or np.any(array > MOST_CYCLES):
        count = "" if size in (None, 1) else f" (one, or {size})"
        raise ModelError(f"program {name!r}: {field} = {shown(values)}: must be whole numbers from {least} to 2^57{count}.")
    return np.broadcast_to(array.astype(np.int64), (array.size if size is None else size,))
