"""What all tests share."""

import os

import pytest

# Tests compare whole outputs of commands; whether something is compiled first depends on the tests before.
os.environ["PREMA_GYM_QUIET"] = "1"

SLOW_FOLDERS = {"batching", "npus", "planning", "rules", "streams"}
"""What plays several NPUs, batches or streams waits minutes for their machine code where nothing is cached."""
SLOW_FILES = {
    "test_agents.py",
    "test_cli.py",
    "test_compare.py",
    "test_compiled_policies.py",
    "test_deadlines.py",
    "test_differential.py",
    "test_docs.py",
    "test_environment.py",
    "test_evaluate.py",
    "test_examples.py",
    "test_faults.py",
    "test_hand_solved_two_npus.py",
    "test_index.py",
    "test_invariants.py",
    "test_invariants_several_npus.py",
    "test_jit_cache.py",
    "test_largest_episode.py",
    "test_leakage.py",
    "test_library.py",
    "test_modes.py",
    "test_needs.py",
    "test_notebooks.py",
    "test_observation_groups.py",
    "test_pages.py",
    "test_pictures_of_batches.py",
    "test_pictures_of_streams.py",
    "test_pipeline.py",
    "test_planted_faults.py",
    "test_policies.py",
    "test_published.py",
    "test_recording.py",
    "test_scenarios.py",
    "test_several_npus_duel.py",
    "test_several_npus_invariants.py",
    "test_shipped_programs.py",
    "test_site.py",
    "test_state.py",
    "test_state_moved.py",
    "test_studies.py",
    "test_sweep.py",
    "test_theory.py",
    "test_timeline.py",
    "test_trace_files.py",
    "test_training.py",
    "test_two_npus_by_hand.py",
    "test_two_npus_timed.py",
    "test_two_npus_unlike.py",
    "test_unbreakable.py",
}
"""More files whose tests take more than some seven seconds together, compiling included: ``-m 'not slow'`` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these folders and files as slow."""
    for item in items:
        if item.path.name in SLOW_FILES or item.path.parent.name in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
