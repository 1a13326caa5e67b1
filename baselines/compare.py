"""``python -m baselines.compare``: the command itself is in :mod:`baselines.commands.compare`."""

import sys

if __name__ == "__main__":
    try:
        from baselines.commands.compare import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
