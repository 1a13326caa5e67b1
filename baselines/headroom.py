"""``python -m baselines.headroom``: the command itself is in :mod:`baselines.commands.headroom`."""

import sys

from baselines.commands.headroom import main

if __name__ == "__main__":
    sys.exit(main())
