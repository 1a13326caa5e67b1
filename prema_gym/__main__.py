"""``python -m prema_gym``: the command line."""

import sys

from prema_gym.cli import main

sys.exit(main())
