"""``python -m baselines.bench``: the command itself is in :mod:`baselines.commands.bench`."""

import sys

from baselines.commands.bench import main

if __name__ == "__main__":
    sys.exit(main())
