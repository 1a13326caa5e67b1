"""``python -m agents.publish``: the command itself is in :mod:`agents.commands.publish`."""

import sys

from agents.commands.publish import main

if __name__ == "__main__":
    sys.exit(main())
