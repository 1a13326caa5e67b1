"""``python -m agents.export``: the command itself is in :mod:`agents.commands.export`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.export import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
