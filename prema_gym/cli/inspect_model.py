"""``prema-gym inspect``: what a network is made of, what bounds each layer, and what a preemption would cost."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prema_gym.cli.parser import PROG, add_npu, add_printing, examples, print_json, save_json
from prema_gym.cli.tables import check_pictures, console, new_table
from prema_gym.config import NPUConfig
from prema_gym.errors import UsageError
from prema_gym.exits import Parser, guarded

if TYPE_CHECKING:
    from rich.table import Table

    from prema_gym.hardware.program import Program
    from prema_gym.workloads.models import Model
    from prema_gym.workloads.models.measured import MeasuredModel

DESCRIPTION = """\
Compile a network for an NPU and print its layers: MACs, cycles, share of the time, and what bounds each:
  compute  data streams through the array, or the vector unit works
  fill     weights are loaded into the array, and it fills and drains, for longer than data streams
  memory   the DRAM port is busy for longer than the engines are
Then the context that a checkpoint would save, over the run."""

EPILOG = examples(
    ("inspect CNN-AN --batch 4", "AlexNet's layers at batch 4"),
    ("inspect CNN-AN --batch 4 --npu edge --picture roofline.png", "on a small NPU, with a roofline"),
    ("inspect CNN-VN --context context.png", "what a checkpoint saves over the run"),
    ("inspect RNN-MT1 --input-length 30 --top 10", "a translation of 30 words, the 10 longest layers"),
    ("inspect CNN-GN --output results", "roofline.png, context.png and inspect.json there"),
    ("inspect CNN-MN --instructions 20", "its first 20 instructions"),
    ("inspect CNN-AN --json | jq .layers", "for other programs"),
    ("inspect --list", "every network"),
    ("inspect resnet50.onnx --batch 8", "a network in a file"),
    ("--import my_models inspect MyNet", "a network of yours (register_model)"),
)

SPARKS = " ▁▂▃▄▅▆▇█"
SPARK_WIDTH = 72
PROFILE_POINTS = 200
"""Pieces of time of the context profile in JSON."""


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(f"{PROG} inspect", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a network (--list names them), or a file: .onnx, .csv (a topology or a profile), .json",
    )
    add("--batch", type=int, default=1, metavar="B", help="samples that run together (default 1)")
    add_npu(parser)
    add("--input-length", type=int, metavar="L", help="of an RNN (default: the median of its inputs)")
    add("--output-length", type=int, metavar="L", help="of an RNN that generates (default: what schedulers predict)")
    add("--top", type=int, metavar="N", help="print only the N layers that take longest")
    add("--instructions", type=int, default=0, metavar="N", help="also print the first N instructions")
    add("--picture", type=Path, metavar="FILE", help="draw the layers under the roofline (.png, .pdf, .svg)")
    add("--context", type=Path, metavar="FILE", help="draw the context over the run (.png, .pdf, .svg)")
    add("--output", type=Path, metavar="DIR", help="write roofline.png, context.png and inspect.json there")
    add("--list", action="store_true", help="print every network, and stop")
    add_printing(parser)
    return parser


@dataclasses.dataclass(frozen=True)
class Inspected:
    """A program and how it came about."""

    program: Program
    npu: NPUConfig
    batch: int
    input_length: int | None
    output_length: int | None
    layers: list[dict[str, Any]]


def lengths(model: Model, options: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return (input length, output length) to compile ``model`` for, None where it has none."""
    from prema_gym.workloads.lengths import predicted_output_length

    spec = model.lengths
    for name in ("input_length", "output_length"):
        if getattr(options, name) is not None and (spec is None or (name == "output_length" and not spec.has_output)):
            raise UsageError(f"--{name.replace('_', '-')}: {model.name} takes none.")
    if spec is None:
        return None, None
    taken = spec.check_input(spec.median if options.input_length is None else options.input_length)
    if not spec.has_output:
        return taken, None
    wanted = options.output_length
    return taken, predicted_output_length(spec, taken) if wanted is None else spec.check_output(wanted)


def load(options: argparse.Namespace) -> Inspected:
    """Compile what ``options`` ask for."""
    from prema_gym.hardware.program import compile_model
    from prema_gym.workloads.models.measured import MeasuredModel
    from prema_gym.workloads.predictor import predict_cycles
    from prema_gym.workloads.programs import find_model

    model, npu = find_model(options.model), NPUConfig.preset(options.npu)
    if isinstance(model, MeasuredModel):
        return load_measured(model, options.batch, npu)
    input_length, output_length = lengths(model, options)
    network = model.network(input_length=input_length)
    predicted = predict_cycles(network, options.batch, npu, output_length)
    program = compile_model(network, options.batch, npu, output_length or 1, model.name, predicted_cycles=predicted)
    layers = [with_shares(layer, program, npu) for layer in program.layer_table()]
    return Inspected(program, npu, options.batch, input_length, output_length, layers)


def load_measured(model: MeasuredModel, batch: int, npu: NPUConfig) -> Inspected:
    """Return a profile as a program: its layers take what was measured, and nothing says what bounds them."""
    program = model.program(batch, npu)
    nothing = dict.fromkeys(("macs", "dram_bytes", "compute_cycles", "memory_cycles", "fill_cycles", "roofline_cycles"), 0)
    layers = [
        {
            "name": row.layer,
            "kind": "measured",
            "passes": 1,
            **nothing,
            "cycles": row.cycles_at(npu.clock_hz),
            "points": 1,
            "bound": "-",
        }
        for row in model.layers_at(batch)
    ]
    return Inspected(program, npu, batch, None, None, [with_shares(layer, program, npu) for layer in layers])


def with_shares(layer: dict[str, Any], program: Program, npu: NPUConfig) -> dict[str, Any]:
    """Return a row of the layer table with milliseconds, its share of the time, and the share of the array's peak it reaches."""
    peak = npu.array_rows * npu.array_cols * layer["cycles"]
    utilisation = layer["macs"] / peak if peak else 0.0
    return {**layer, "ms": npu.ms(layer["cycles"]), "share": layer["cycles"] / program.total_cycles, "utilisation": utilisation}


def context_summary(found: Inspected) -> dict[str, Any]:
    """Return what a checkpoint saves: the largest, the mean over time, and the profile in equal pieces of time."""
    from prema_gym.rendering.charts.roofline import context_envelope

    edges, save, restore = context_envelope(found.program, PROFILE_POINTS)
    _, fine, _ = context_envelope(found.program)
    most = int(found.program.save_bytes.max(initial=0))
    return {
        "largest_save_bytes": most,
        "largest_save_us": 1e3 * found.npu.ms(found.npu.context_cycles(most)),
        "largest_restore_bytes": int(found.program.restore_bytes.max(initial=0)),
        "mean_save_bytes": float(fine.mean()),
        "profile": {
            "ms": [found.npu.ms(edge) for edge in edges[:-1].tolist()],
            "save_bytes": save.tolist(),
            "restore_bytes": restore.tolist(),
        },
    }


def time_by_bound(layers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the share of the time of the layers that each bound holds."""
    return {bound: sum(layer["share"] for layer in layers if layer["bound"] == bound) for bound in ("compute", "fill", "memory")}


def summary(found: Inspected) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    program, npu = found.program, found.npu
    roofs = program.roofline() if program.source is not None else None
    return {
        "model": program.name,
        "batch": found.batch,
        "input_length": found.input_length,
        "output_length": found.output_length,
        "npu": npu.to_dict(),
        "macs": sum(layer["macs"] for layer in found.layers),
        "cycles": program.total_cycles,
        "ms": npu.ms(program.total_cycles),
        "predicted_cycles": program.predicted_cycles,
        "dram_cycles": roofs and roofs.dram_cycles,
        "peak_cycles": roofs and roofs.peak_cycles,
        "roofline_cycles": roofs and roofs.roofline_cycles,
        "dram_bytes": program.dram_bytes,
        "preemption_points": program.num_points,
        "time_by_bound": time_by_bound(found.layers),
        "context": context_summary(found),
        "layers": found.layers,
    }


def quantity(value: float, unit: str = "") -> str:
    """Return ``value`` with about three digits and a decimal prefix: 655 M, 1.43 G."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def binary(nbytes: float) -> str:
    """Return bytes as B, KiB or MiB."""
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= size:
            return f"{nbytes / size:.{2 if unit == 'MiB' else 1}f} {unit}"
    return f"{nbytes:.0f} B"


def layers_table(found: Inspected, top: int | None) -> Table:
    """Return a row per layer in program order, or of the ``top`` longest."""
    from rich.markup import escape

    lengths = f", input length {found.input_length}" if found.input_length else ""
    lengths += f", output length {found.output_length}" if found.output_length else ""
    npu = found.npu
    where = f"{npu.array_rows} x {npu.array_cols} at {npu.clock_hz / 1e6:g} MHz"
    table = new_table(f"{found.program.name}, batch {found.batch}{lengths}, on {where}")
    for head in ("layer", "kind", "times", "MACs", "DRAM", "cycles", "roofline", "ms", "share", "of peak", "bound"):
        table.add_column(head, justify="left" if head in ("layer", "kind", "bound") else "right", no_wrap=True)
    longest = sorted(found.layers, key=lambda layer: -layer["cycles"])
    for layer in found.layers if top is None else longest[:top]:
        macs = (quantity(layer["macs"]), f"{layer['utilisation']:.1%}") if layer["macs"] else ("-", "-")
        cycles = (f"{layer['cycles']:,}", f"{layer['roofline_cycles']:,}", f"{layer['ms']:.3f}")
        row = (escape(layer["name"]), layer["kind"], str(layer["passes"]), macs[0], binary(layer["dram_bytes"]))
        table.add_row(*row, *cycles, f"{layer['share']:.1%}", macs[1], layer["bound"])
    return table


def sparkline(found: Inspected) -> str:
    """Return the save bytes over the run as a line of blocks."""
    from prema_gym.rendering.charts.roofline import context_envelope

    _, save, _ = context_envelope(found.program, SPARK_WIDTH)
    most = max(int(save.max()), 1)
    return "".join(SPARKS[math.ceil(value * (len(SPARKS) - 1) / most)] for value in save.tolist())


def totals(found: Inspected) -> list[str]:
    """Return the lines under the table."""
    program, npu, context = found.program, found.npu, context_summary(found)
    cycles, macs = program.total_cycles, sum(layer["macs"] for layer in found.layers)
    ms, told = npu.ms(cycles), npu.ms(program.predicted_cycles)
    busy = macs / (npu.array_rows * npu.array_cols * cycles)
    bounds = ", ".join(f"{bound} {share:.0%}" for bound, share in time_by_bound(found.layers).items() if share >= 0.005)
    largest = f"{binary(context['largest_save_bytes'])} at most ({context['largest_save_us']:.1f} us)"
    every = 1e3 * ms / max(program.num_points, 1)
    lines = [
        f"total      {ms:.3f} ms = {cycles:,} cycles; schedulers are told {told:.3f} ms ({told / ms - 1:+.1%})",
        f"preemption {program.num_points:,} points, one every {every:.2f} us on average",
        f"context    a checkpoint saves {largest}, {binary(context['mean_save_bytes'])} on average over time:",
        f"           0 ms |{sparkline(found)}| {ms:.3g} ms",
    ]
    if program.source is None:
        return lines
    roofs = program.roofline()
    lines[1:1] = [
        f"roofline   {npu.ms(roofs.roofline_cycles):.3f} ms: DRAM time {npu.ms(roofs.dram_cycles):.3f} ms, "
        f"time at peak MACs {npu.ms(roofs.peak_cycles):.3f} ms; the total is {cycles / roofs.roofline_cycles:.2f} times the larger",
        f"work       {quantity(macs, 'MAC')}, {busy:.1%} of the array's peak; {binary(program.dram_bytes)} of DRAM traffic",
        f"bound by   {bounds} (of the time)",
    ]
    return lines


def write_files(found: Inspected, options: argparse.Namespace) -> list[Path]:
    """Write every file that was asked for; return their paths."""
    from prema_gym.rendering import context_profile, roofline

    folder: Path | None = options.output
    rooflines = [path for path in (options.picture, folder and folder / "roofline.png") if path]
    contexts = [path for path in (options.context, folder and folder / "context.png") if path]
    for path in rooflines:
        roofline(found.program, path=path)
    for path in contexts:
        context_profile(found.program, path=path)
    if folder is None:
        return [*rooflines, *contexts]
    save_json(summary(found), folder / "inspect.json")
    return [*rooflines, *contexts, folder / "inspect.json"]


def show(found: Inspected, options: argparse.Namespace) -> None:
    """Print the table and what follows it."""
    out = console()
    out.print(layers_table(found, options.top))
    for line in totals(found):
        out.print(line, markup=False, soft_wrap=True)
    if options.instructions:
        out.print()
        for line in found.program.disassemble(options.instructions):
            out.print(line, markup=False, soft_wrap=True)


def list_models(as_json: bool) -> None:
    """Print every network: MACs of one sample, lengths, source."""
    from prema_gym.workloads.models import MEASURED, MODELS

    rows = [*map(model_row, MODELS.values()), *map(model_row, MEASURED.values())]
    if as_json:
        print_json(rows)
        return
    table = new_table("Networks (MACs of one sample, at the median length)")
    for head in ("model", "MACs", "weights", "input lengths", "source"):
        table.add_column(head, justify="right" if head in ("MACs", "weights") else "left", no_wrap=head != "source")
    for row in rows:
        inputs = "-" if row["input_lengths"] is None else "{}-{}".format(*row["input_lengths"])
        table.add_row(row["model"], quantity(row["macs"]), quantity(row["weights"]), inputs, row["source"])
    console().print(table)


def model_row(model: Model | MeasuredModel) -> dict[str, Any]:
    """Return what ``--list`` says of a network; of a measured one neither MACs nor weights are known."""
    from prema_gym.workloads.models.measured import MeasuredModel

    if isinstance(model, MeasuredModel):
        return {"model": model.name, "macs": 0, "weights": 0, "input_lengths": None, "source": model.citation}
    spec = model.lengths
    inputs = None if spec is None else [spec.min, spec.max]
    counts = {"macs": model.macs(), "weights": model.weights()}
    return {"model": model.name, **counts, "input_lengths": inputs, "source": model.citation}


def inspect(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if options.list:
        list_models(options.json)
        return
    if options.model is None:
        raise UsageError("which MODEL? The name of a network (prema-gym inspect --list), or a file: .onnx, .csv, .json.")
    for name in ("top", "instructions"):
        if getattr(options, name) is not None and getattr(options, name) < 0:
            raise UsageError(f"--{name} {getattr(options, name)}: must be a whole number of at least 0.")
    check_pictures(options, ["picture", "context"])
    found = load(options)
    written = write_files(found, options)
    if options.json:
        print_json(summary(found))
        return
    show(found, options)
    for path in written if not options.quiet else ():
        print(f"wrote {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: inspect(options))
