"""Compiles the programs of the default environment anew, and writes them to the package; a test compares them with the sources."""

from __future__ import annotations

from prema_gym.config import EnvConfig
from prema_gym.hardware.library import SHIPPED, ProgramLibrary
from prema_gym.workloads.programs import ProgramTable


def compile_default() -> tuple[str, ProgramLibrary]:
    """Return the key and the library of the default environment, compiled here and now."""
    config = EnvConfig()
    table = ProgramTable.of((config.npu,), config.workload)
    return table.library_key(config.npu), table.build(config.npu)


if __name__ == "__main__":
    key, library = compile_default()
    library.save_small(SHIPPED, key)
    print(f"{SHIPPED.name}: {len(library):,} programs, {SHIPPED.stat().st_size:,} bytes.")
