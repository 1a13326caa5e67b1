"""``python -m agents.rllib``: the command itself is in :mod:`agents.commands.rllib`."""

import sys

if __name__ == "__main__":
    try:
        from agents.commands.rllib import main

        sys.exit(main())
    except KeyboardInterrupt:  # while it was being imported, too
        print("stopped", file=sys.stderr)
        sys.exit(130)
