"""``python -m agents.tune_gate``: the command itself is in :mod:`agents.commands.tune_gate`."""

import sys

from agents.commands.tune_gate import main

if __name__ == "__main__":
    sys.exit(main())
