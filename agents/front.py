"""``python -m agents.front``: the command itself is in :mod:`agents.commands.front`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.front import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
