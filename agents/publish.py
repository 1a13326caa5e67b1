"""``python -m agents.publish``: the command itself is in :mod:`agents.commands.publish`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.publish import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
