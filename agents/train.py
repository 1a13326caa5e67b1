"""``python -m agents.train``: the command itself is in :mod:`agents.commands.train`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.train import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
