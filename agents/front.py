"""``python -m agents.front``: the command itself is in :mod:`agents.commands.front`."""

import sys

from agents.commands.front import main

if __name__ == "__main__":
    sys.exit(main())
