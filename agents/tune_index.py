"""``python -m agents.tune_index``: the command itself is in :mod:`agents.commands.tune_index`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.tune_index import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
