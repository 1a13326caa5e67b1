"""Ask SCALE-Sim 3.0.0 for the compute cycles of every shape, at three array sizes, and write them as a golden table.

Run in an environment of its own (README.md), never with the project's Python::

    python golden.py shapes.csv ../../tests/golden/scalesim.csv

Each shape runs in a process of its own with limits on time and memory: SCALE-Sim takes up to a minute and a gigabyte a layer, and
crashes on some. What fails, or is too large to be tried, is written with its reason in place of a figure. Rows that are in the
output already are kept, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import multiprocessing
import os
import resource
import tempfile
from pathlib import Path

ARRAYS = (128, 256, 32)
FIELDS = ("array", "name", "kind", "m", "k", "n", "groups", "scalesim_cycles", "note")
MOST_WORK = 6e6
"""Elements of the demand matrices, array side x cycles, or of the prefetch matrix (padded K x M); larger shapes aren't tried."""
TOO_LARGE = "too large: not tried"
SECONDS = 600
BYTES = 4 << 30

CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: {side}
ArrayWidth: {side}
IfmapSramSzkB: 8192
FilterSramSzkB: 4096
OfmapSramSzkB: 4096
IfmapOffset: 0
FilterOffset: 100000000
OfmapOffset: 200000000
Dataflow: ws
Bandwidth: 10
ReadRequestBuffer: 64
WriteRequestBuffer: 64
MemoryBanks: 1
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""
"""InterfaceBandwidth CALC: memory never stalls the array, so the total is the array's."""
LAYOUT = "Layer,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,\n"


def work(row: dict[str, str], side: int) -> float:
    """Return the elements that SCALE-Sim will handle one by one."""
    m, k, n = int(row["m"]), int(row["k"]), int(row["n"])
    folds = math.ceil(k / side) * math.ceil(n / side)
    return max(folds * (3 * side + m) * side, math.ceil(k / side) * side * m)


def topology(row: dict[str, str]) -> str:
    """Return SCALE-Sim's topology file of one layer."""
    if row["kind"] == "gemm":
        return f"Layer,M,N,K,\nlayer,{row['m']},{row['n']},{row['k']},\n"
    fields = ("height", "width", "kernel_height", "kernel_width", "channels", "n", "stride")
    return "Layer,h,w,fh,fw,c,n,s,\nlayer," + ",".join(row[field] for field in fields) + ",\n"


def simulate(row: dict[str, str], side: int) -> tuple[int, int, int, int]:
    """Return (total compute cycles, M, K, N as SCALE-Sim sees them)."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory() as folder:
        paths = {name: os.path.join(folder, f"{name}.csv") for name in ("config", "topology", "layout")}
        layout = LAYOUT + "layer," + "1," * 20 + "\n"
        for name, text in (("config", CONFIG.format(side=side)), ("topology", topology(row)), ("layout", layout)):
            Path(paths[name]).write_text(text, encoding="utf-8")
        simulation = scalesim(
            save_disk_space=True, verbose=False, config=paths["config"], topology=paths["topology"], layout=paths["layout"],
            input_type_gemm=row["kind"] == "gemm",
        )  # fmt: skip
        simulation.run_scale(top_path=folder)
        layer = simulation.runner.single_layer_sim_object_list[0]
        array = layer.compute_system
        return layer.memory_system.get_total_compute_cycles(), array.T, array.Sr, array.Sc


def _child(row: dict[str, str], side: int, pipe) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            answer = simulate(row, side)
        pipe.send(answer)
    except BaseException as error:
        pipe.send(f"SCALE-Sim fails: {type(error).__name__}: {error}"[:120])


def ask(row: dict[str, str], side: int, most_work: float) -> tuple[str, str]:
    """Return (cycles, "") or ("", why there is no figure)."""
    if work(row, side) > most_work:
        return "", TOO_LARGE
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_child, args=(row, side, theirs))
    process.start()
    theirs.close()
    answer = None
    with contextlib.suppress(EOFError):
        answer = ours.recv() if ours.poll(SECONDS) else f"more than {SECONDS} s"
    process.kill()
    process.join()
    if isinstance(answer, str) or answer is None:
        return "", answer or f"SCALE-Sim ends with code {process.exitcode}"
    cycles, *shape = answer
    if shape != [int(row[side]) for side in "mkn"]:
        return "", f"SCALE-Sim sees the GEMM {shape}"
    return str(cycles), ""


def main() -> None:
    """Fill the golden table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes")
    parser.add_argument("output", type=Path)
    parser.add_argument("--most-work", type=float, default=MOST_WORK, help="try shapes up to this many elements")
    parser.add_argument("--only", default="", help="only shapes whose name contains this")
    parser.add_argument("--arrays", type=int, nargs="+", default=ARRAYS)
    options = parser.parse_args()
    with open(options.shapes, newline="", encoding="utf-8") as file:
        shapes = list(csv.DictReader(file))
    done: dict[tuple[str, str], dict[str, str]] = {}
    if options.output.exists():
        with options.output.open(newline="", encoding="utf-8") as file:
            done = {(row["array"], row["name"]): row for row in csv.DictReader(file)}
    chosen = [shape for shape in shapes if options.only in shape["name"]]
    rows = sorted(((side, shape) for side in options.arrays for shape in chosen), key=lambda item: work(item[1], item[0]))
    for side, shape in rows:
        key = (str(side), shape["name"])
        retry = key in done and done[key]["note"] == TOO_LARGE and work(shape, side) <= options.most_work
        if key not in done or retry:
            cycles, note = ask(shape, side, options.most_work)
            kept = {field: shape[field] for field in FIELDS if field in shape}
            done[key] = {**kept, "array": str(side), "scalesim_cycles": cycles, "note": note}
            write(options.output, done, shapes)


def write(path: Path, done: dict[tuple[str, str], dict[str, str]], shapes: list[dict[str, str]]) -> None:
    """Write all rows in the order of arrays and shapes."""
    order = [(str(side), shape["name"]) for side in ARRAYS for shape in shapes]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(done[key] for key in order if key in done)


if __name__ == "__main__":
    main()
