"""What a card says of the code and the machine that made the weights."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np


def provenance() -> dict[str, str | None]:
    """Return the card's entries on code and machine."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}"
    return {"revision": revision(), "platform": system}


def revision() -> str | None:
    """Return the commit of the code, with ``+`` where files have changed since; None outside a repository."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=20)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=here, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.returncode else "")
