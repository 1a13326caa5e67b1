"""``python -m agents.tune_batching``: the command itself is in :mod:`agents.commands.tune_batching`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.tune_batching import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
