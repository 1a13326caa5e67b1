"""Change the code in one place at a time and see that the tests notice: ``make mutation``.

Mutants run interpreted, each in a process of its own, against the reference and then against tests (plans.py says which). Survivors
are listed; docs/testing.md argues why each remaining one changes nothing. ``--planted`` plays a few typical faults instead.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tools.mutation.mutants import Mutant, mutants, path_of, start
from tools.mutation.plans import FALLBACK, PLANS, Plan

PRELOADED = ("numpy", "numba", "gymnasium", "scipy.special", "hypothesis", "pytest")
"""Imported once, before the processes fork."""
RESTORE = "context_cycles(tables.rules[npu.configuration], entry.restore_bytes)"
WAITS = "    entry.accounted_cycles = cycle\n"
EVICTED = "    entry.preemptions += 1\n"
PLANTED = (
    (
        "an arrival precedes what ends at its cycle",
        "straight",
        "next_arrival_cycles(row) < cycle:",
        "next_arrival_cycles(row) <= cycle:",
    ),
    ("a dropped restore", "switch", f"{RESTORE} + entry.refill_cycles", "entry.refill_cycles"),
    ("a dropped refill", "switch", f"{RESTORE} + entry.refill_cycles", RESTORE),
    ("the token earns the whole wait", "table", "entry.token += rate * waited", "entry.token += rate * entry.waited_cycles"),
    ("overhead off by one", "switch", "overhead_cycles += cycles", "overhead_cycles += cycles + 1"),
    ("killed progress stays useful", "switch", "        row.engines[n].useful_cycles -= executed\n", ""),
    ("evicted before its first commit", "switch", "dispatch_position_cycles + 1)", "dispatch_position_cycles)"),
    ("a quantum at a switch's end expires", "straight", "quantum_due_cycles <= end:", "quantum_due_cycles < end:"),
    ("a decision too few asked by the quantum", "straight", "row.machine.quanta >= every", "row.machine.quanta > every"),
    ("events at the horizon are lost", "straight", "cycle > row.machine.horizon_cycles:", "cycle >= row.machine.horizon_cycles:"),
    ("a task saved at its completion", "switch", "if commit >= engine.total_cycles", "if commit > engine.total_cycles"),
    ("a lap early in a loop", "programs", "lap = (offset - 1) // block.cycles", "lap = offset // block.cycles"),
    ("a wait counted from the wrong cycle", "switch", WAITS + EVICTED, EVICTED),
    (
        "the drained task's successor is dated at the decision",
        "straight",
        "        if mechanism == DRAIN:\n            engine.chosen_cycles = free\n",
        "",
    ),
)
"""One-line faults in the simulator: name, room, line, what stands in its place."""


def planted() -> Iterator[Mutant]:
    """Yield the simulator with each planted fault."""
    for name, room, before, after in PLANTED:
        source = path_of(f"prema_gym.sim.{room}").read_text()
        if source.count(before) != 1:
            raise SystemExit(f"planted fault {name!r}: sim/{room}.py holds its line {source.count(before)} times, not once")
        yield Mutant(f"prema_gym.sim.{room}", name, source.replace(before, after))


def plan_of(mutant: Mutant, arguments: argparse.Namespace) -> Plan:
    """Return what ``mutant`` is put to; planted faults have to show in the episodes alone."""
    plan = PLANS.get(mutant.module, FALLBACK)
    return Plan(plan.games) if arguments.planted else plan


def survivors(changed: Iterable[Mutant], arguments: argparse.Namespace, progress: Progress) -> list[Mutant]:
    """Play every mutant, ``--processes`` at a time; return those that nothing noticed."""
    waiting = list(changed)
    total, alive, running = len(waiting), [], dict[int, Mutant]()
    bar = progress.add_task("0 survive", total=total)
    while waiting or running:
        while waiting and len(running) < arguments.processes:
            mutant = waiting.pop(0)
            running[start(mutant, plan_of(mutant, arguments), arguments.episodes, arguments.seconds)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            alive.append(mutant)
            progress.console.print(mutant.change, style="yellow", highlight=False)
        progress.update(bar, advance=1, description=f"{len(alive)} survive")
    return alive


def _refuse_false_alarms(chosen: Iterable[Mutant], arguments: argparse.Namespace) -> None:
    """Exit unless the code as it is passes what mutants are put to; planted faults are put to what other tests pass in full."""
    plans = {plan_of(mutant, arguments): mutant.module for mutant in chosen}
    seconds = arguments.seconds / 10 if arguments.planted else arguments.seconds
    for plan, module in plans.items():
        child = start(Mutant(module, "unchanged", path_of(module).read_text()), plan, arguments.episodes, seconds)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit(f"the unchanged {module} differs from the reference or fails its tests: mend that first")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", action="store_true", help="play the planted faults")
    parser.add_argument("--module", action="append", help=f"a module to change (default: {', '.join(PLANS)})")
    parser.add_argument("--only", action="append", metavar="TEXT", help="play only mutants whose description has this in it")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="play each N-th mutant only (default: 1)")
    parser.add_argument("--episodes", type=int, default=2000, help="play episodes of numbers below this (default: 2000)")
    parser.add_argument("--seconds", type=float, default=30, help="most seconds of computing per mutant and game (default: 30)")
    parser.add_argument("--processes", type=int, default=2, help="processes to use (default: 2)")
    return parser.parse_args()


def main() -> int:
    """Run the command; return its exit status: 1 where a planted fault survives."""
    arguments = _arguments()
    for name in PRELOADED:
        importlib.import_module(name)
    if arguments.planted:
        chosen = list(planted())
    else:
        every = [mutant for module in arguments.module or PLANS for mutant in mutants(module)]
        wanted = [mutant for mutant in every if not arguments.only or any(text in mutant.change for text in arguments.only)]
        chosen = wanted[:: arguments.every]
    _refuse_false_alarms(chosen, arguments)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        alive = survivors(chosen, arguments, progress)
    for mutant in alive:
        print(mutant.change)
    killed = len(chosen) - len(alive)
    print(f"{len(chosen)} mutants, {killed} noticed, {len(alive)} survive: {100 * killed / len(chosen):.1f} %")
    return int(arguments.planted and bool(alive))


if __name__ == "__main__":
    sys.exit(main())
