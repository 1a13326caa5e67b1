"""``python -m baselines.sweep``: the command itself is in :mod:`baselines.commands.sweep`."""

import sys

from baselines.commands.sweep import main

if __name__ == "__main__":
    sys.exit(main())
