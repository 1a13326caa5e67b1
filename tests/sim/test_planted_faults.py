"""The random episodes notice what they should: each planted one-line fault in the kernel makes some of the first 2000 differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_planted_fault_is_noticed_within_2000_episodes() -> None:
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tools.mutation", "--planted", "--episodes", "2000", "--seconds", "90"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tests)
    assert result.returncode == 0, result.stdout + result.stderr
