"""``python -m agents.train``: the command itself is in :mod:`agents.commands.train`."""

import sys

from agents.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
