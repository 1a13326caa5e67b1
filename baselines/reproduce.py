"""``python -m baselines.reproduce``: the command itself is in :mod:`baselines.commands.reproduce`."""

import sys

if __name__ == "__main__":
    try:
        from baselines.commands.reproduce import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
