"""``python -m baselines.compare``: the command itself is in :mod:`baselines.commands.compare`."""

import sys

from baselines.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
