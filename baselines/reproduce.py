"""``python -m baselines.reproduce``: the command itself is in :mod:`baselines.commands.reproduce`."""

import sys

from baselines.commands.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
