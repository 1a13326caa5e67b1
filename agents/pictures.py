"""``python -m agents.pictures``: the command itself is in :mod:`agents.commands.pictures`."""

import sys

from agents.commands.pictures import main

if __name__ == "__main__":
    sys.exit(main())
