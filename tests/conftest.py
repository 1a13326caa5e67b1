"""What all tests share."""

import os

import pytest

# Tests compare whole outputs of commands; whether something is compiled first depends on the tests before.
os.environ["PREMA_GYM_QUIET"] = "1"

SLOW_FILES = {
    "test_batching_faults.py",
    "test_batching_invariants.py",
    "test_cli.py",
    "test_compare.py",
    "test_differential.py",
    "test_docs.py",
    "test_environment.py",
    "test_evaluate.py",
    "test_examples.py",
    "test_faults.py",
    "test_futures.py",
    "test_headroom.py",
    "test_invariants.py",
    "test_jit_cache.py",
    "test_library.py",
    "test_lookahead.py",
    "test_needs.py",
    "test_notebooks.py",
    "test_observation_groups.py",
    "test_pages.py",
    "test_planted_faults.py",
    "test_queueing_theory.py",
    "test_scenarios.py",
    "test_several_npus_duel.py",
    "test_shipped_programs.py",
    "test_site.py",
    "test_state.py",
    "test_state_moved.py",
    "test_streams.py",
    "test_studies.py",
    "test_sweep.py",
    "test_trace_files.py",
    "test_training.py",
    "test_two_npus_timed.py",
    "test_unbreakable.py",
}
"""Files whose tests take more than some seven seconds together, compiling included: ``-m 'not slow'`` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these files as slow."""
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
