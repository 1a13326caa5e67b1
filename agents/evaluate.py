"""``python -m agents.evaluate``: the command itself is in :mod:`agents.commands.evaluate`."""

import sys

from agents.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
