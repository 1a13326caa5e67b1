"""``python -m agents.export``: the command itself is in :mod:`agents.commands.export`."""

import sys

from agents.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
