"""``python -m agents.tune_index``: the command itself is in :mod:`agents.commands.tune_index`."""

import sys

from agents.commands.tune_index import main

if __name__ == "__main__":
    sys.exit(main())
