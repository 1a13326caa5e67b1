"""Run the notebooks and write them with their outputs: ``python -m tools.notebooks [NAME ...]`` in ``tests/``."""

from __future__ import annotations

import sys
import time

import nbformat

from tools.notebooks import PATHS, prepared, read, run


def main() -> None:
    """Write every notebook, or those whose names begin as given."""
    for path in PATHS:
        if sys.argv[1:] and not path.name.startswith(tuple(sys.argv[1:])):
            continue
        began = time.perf_counter()
        nbformat.write(prepared(run(read(path))), path)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
