"""Kill runs at random moments (kill -9), and hold what is left and how they end against the undisturbed run's: ``make kills``.

    cd tests && python -m tools.kills cma --kills 200
    cd tests && python -m tools.kills sweep --kills 50
    cd tests && python -m tools.kills ray --kills 10

Training runs are resumed until they end, commands are run again; of sweeps on Ray the workers are killed.
Exit code 1 if anything is lost, damaged or ends otherwise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.kills import commands, training, workers


def kill_training(algo: str, kills: int, folder: Path, seed: int) -> int:
    """Kill training runs, and print how many; return how many ended otherwise."""
    done, runs, wrong = training.check(algo, kills, folder, seed)
    print(f"{algo}: {done} kills in {runs} runs; {wrong} ended otherwise than the undisturbed run")
    return wrong


def kill_command(command: str, kills: int, folder: Path, seed: int) -> int:
    """Kill runs of a command, and print how many; return how much was wrong."""
    tally = commands.check(command, kills, folder, seed)
    for line in tally.wrong:
        print(line)
    print(
        f"{command}: {tally.kills} kills in {tally.runs} runs, {tally.amid} of them with some files new and others not yet; "
        f"{tally.temporary} unfinished files left, {len(tally.wrong)} results lost, damaged or otherwise than the undisturbed run's"
    )
    return len(tally.wrong)


def kill_workers(_: str, kills: int, folder: Path, seed: int) -> int:
    """Kill workers of sweeps on Ray, and print how many; return how many sweeps ended otherwise."""
    ended = list(workers.check(kills, folder, seed))
    wrong = [problem for _, problem in ended if problem]
    for line in wrong:
        print(line)
    print(f"ray: {sum(killed for killed, _ in ended)} workers killed in {len(ended)} sweeps; {len(wrong)} ended otherwise")
    return len(wrong)


KINDS = {
    **dict.fromkeys(training.SMALL, kill_training),
    **dict.fromkeys(commands.SMALL, kill_command),
    "ray": kill_workers,
}
"""What is killed, by name."""


def main() -> int:
    """Kill runs; return the exit status."""
    parser = argparse.ArgumentParser("python -m tools.kills", description="Kill runs at random moments, and run them again.")
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = KINDS[options.what](options.what, options.kills, Path(folder), options.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
