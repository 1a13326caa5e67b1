"""What all tests share."""

import os

# Tests compare whole outputs of commands; whether something is compiled first depends on the tests before.
os.environ["PREMA_GYM_QUIET"] = "1"
