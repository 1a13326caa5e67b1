"""Which groups an observation holds and where, the hand-computed features of each, and the logarithm that all of them share."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest

from agents.network.slots.inputs import ROW_INPUTS, SLOT_INPUTS, R, S, base_size, fill_inputs
from agents.network.slots.layout import Shape, parts_of
from prema_gym import Program, register_program
from prema_gym._jit import jit
from prema_gym.config import EnvConfig
from prema_gym.envs.observation import BLOCKS, F, G, Layout, groups_of
from prema_gym.envs.observation.base import clip_log
from prema_gym.envs.observation.lanes import to_asinhs, to_logs
from prema_gym.errors import ConfigError

STREAM = {"slots": 4, "horizon_requests": 8, "workload": {"arrivals": {"process": "poisson", "utilisation": 0.9}}}


def _make(**arguments: Any) -> Any:
    return gymnasium.make("prema_gym:Prema-v0", disable_env_checker=True, **arguments).unwrapped


# --- Which and where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "groups"),
    [
        ({}, ("base",)),
        ({"npus": ["prema", "edge"]}, ("base", "npus")),
        ({"workload": {"sla": 4.0}}, ("base", "deadlines")),
        (STREAM, ("base", "streams")),
        ({**STREAM, "npus": ["prema", "prema"]}, ("base", "npus", "streams")),
        ({"batching": 4}, ("base", "batching")),
        ({**STREAM, "npus": ["prema", "prema"], "batching": 4}, ("base", "npus", "streams", "batching")),
    ],
)
def test_an_environment_shows_the_groups_that_it_has_something_to_say_in(
    arguments: dict[str, Any], groups: tuple[str, ...]
) -> None:
    config = EnvConfig.coerce(arguments)
    assert groups_of(config) == groups
    assert {block.group for block in Layout.of(config).blocks} == set(groups)


def test_features_lie_side_by_side_and_the_base_comes_first() -> None:
    layout = Layout(5, 3, ("base", "npus", "deadlines", "streams", "batching"))
    places = sorted((layout[name].start, layout[name].stop) for name in layout)
    assert places[0][0] == 0
    assert places[-1][1] == layout.size
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(places))
    base = Layout(5)
    assert base.size == 5 * F + G
    assert all(layout[name] == base[name] for name in base)


def test_an_unknown_feature_is_an_error_that_suggests_one() -> None:
    with pytest.raises(ConfigError, match="log_token"):
        Layout(8)["log_tokn"]


def test_a_view_gives_a_feature_by_name() -> None:
    env = _make()
    env.reset(seed=0)
    view = env.view()
    np.testing.assert_array_equal(view.feature("present"), view.present)
    assert view.feature("log_work").shape == (1, 1)


# --- By hand ------------------------------------------------------------------------------------------------------------------


def test_two_npus_by_hand() -> None:
    fast, slow = (Program.from_points(total, range(100, total + 1, 100)) for total in (1000, 3000))
    register_program("observed", {"prema": fast, "edge": slow})
    workload = {"models": ["observed"], "batches": [1], "num_tasks": 2}
    env = _make(npus=["edge", "prema"], workload=workload, scheduler_latency_cycles=0)
    trace = [{"arrival_cycles": 0, "model": "observed", "priority": 9}, {"arrival_cycles": 0, "model": "observed", "priority": 1}]
    env.reset(options={"trace": trace})
    shown = {name: env.view().feature(name)[0, :2].tolist() for name in env.layout}
    third, thousand = math.log(3) / 4, math.log(1000 / 1e6) / 4
    assert shown["log_slowdown"] == pytest.approx([third, third])  # the edge NPU is asked
    assert shown["log_fastest"] == pytest.approx([thousand, thousand])
    assert shown["log_remaining"] == pytest.approx([math.log(3000 / 1e6) / 4] * 2)
    assert shown["npu_log_slowdown"] == pytest.approx([third, 0.0])
    assert (shown["npu_idle"], shown["npu_next"]) == ([1.0, 1.0], [0.0, 1.0])
    assert shown["npu_log_work"] == [0.0, 0.0]
    assert shown["fastest_here"] == [0.0]
    env.step(1)  # the edge NPU takes the first; the other has one legal move and makes it
    assert env.view().npu["finished"][0] >= 1 or env.view().running.any()


def test_deadlines_by_hand() -> None:
    register_program("due", Program.from_points(1000, range(100, 1001, 100)))
    env = _make(workload={"models": ["due"], "batches": [1], "num_tasks": 3, "sla": 4.0})
    entry = {"arrival_cycles": 0, "model": "due", "priority": 1}
    env.reset(options={"trace": [{**entry, "sla": 3.0}, {**entry, "deadline_cycles": 400}, entry]})
    shown = {name: env.view().feature(name)[0, :3].tolist() for name in env.layout}
    assert shown["has_deadline"] == [1.0, 1.0, 0.0]
    assert shown["late"] == shown["late_everywhere"] == [0.0, 1.0, 0.0]
    assert shown["slack"] == pytest.approx([math.asinh(2.0) / 4, math.asinh(-0.6) / 4, 0.0], abs=1e-6)


# --- The logarithm ------------------------------------------------------------------------------------------------------------


def test_logarithms_are_those_of_float64_to_a_few_units_of_float32_and_end_at_the_clip() -> None:
    values = np.exp(np.linspace(-15.9, 15.9, 100_003)).astype(np.float32)
    logs = values.copy()
    to_logs(logs, 0, len(logs))
    np.testing.assert_allclose(logs, np.log(values.astype(np.float64)) / 4, rtol=0, atol=3e-7)
    ends = np.array([1e-30, 1.0, 3e38, np.inf], np.float32)
    to_logs(ends, 0, 4)
    assert ends.tolist() == [-4.0, 0.0, 4.0, 4.0]


def test_a_logarithm_that_is_taken_already_ends_at_the_clip_too() -> None:
    given = (-math.inf, -20.0, -16.0, -2.0, 0.0, 2.0, 16.0, 20.0, math.inf)
    assert [clip_log(value) for value in given] == [-4.0, -4.0, -4.0, -0.5, 0.0, 0.5, 4.0, 4.0, 4.0]


def test_only_the_stretch_that_is_named_is_replaced() -> None:
    values = np.full(20, 9.0, np.float32)
    to_logs(values, 3, 17)
    assert (values[:3] == 9).all()
    assert (values[17:] == 9).all()
    np.testing.assert_allclose(values[3:17], math.log(9) / 4, atol=1e-7)


def test_asinh_is_odd_and_ends_at_the_clip() -> None:
    values = np.concatenate([np.linspace(-1e5, 1e5, 10_001), [-1e30, 1e30]]).astype(np.float32)
    got = values.copy()
    to_asinhs(got, 0, len(got))
    np.testing.assert_allclose(got[:-2], np.arcsinh(values[:-2].astype(np.float64)) / 4, rtol=0, atol=5e-7)
    np.testing.assert_array_equal(got[:10_001], -got[:10_001][::-1])
    assert got[-2:].tolist() == [-4.0, 4.0]


# --- What the network over slots reads ----------------------------------------------------------------------------------------


def test_the_network_reads_the_base_alone_and_priorities_as_flags() -> None:
    env = _make(npus=["prema", "prema"], workload={"priorities": [1, 3, 9, 20], "num_tasks": 4})
    env.reset(options={"trace": [{"arrival_cycles": 0, "model": "CNN-AN", "priority": level} for level in (1, 3, 9, 20)]})
    slots, observation = env.config.num_slots, env.view().observation[0]
    assert len(observation) > base_size(slots)
    read = np.zeros(slots * S + R)
    jit(lambda observation, read: fill_inputs(observation, 4, read))(observation.copy(), read)
    of_slots = {name: read[: slots * S].reshape(slots, S)[:, k] for k, (name, *_) in enumerate(SLOT_INPUTS)}
    flags = [of_slots[f"priority_{level}"].tolist() for level in ("low", "medium", "high")]
    assert flags == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(of_slots["log_token"], env.view().feature("log_token")[0].astype(np.float64))
    of_row = dict(zip((name for name, *_ in ROW_INPUTS), read[slots * S :].tolist(), strict=True))
    assert of_row["log_backlog"] == env.view().feature("log_work")[0, 0]
    assert of_row["arrival"] == 1.0


@pytest.mark.parametrize("shape", [Shape(1, 1, 1), Shape(5, 7, 3)])
def test_named_parts_of_the_weights_are_the_tensors_that_are_saved(shape: Shape) -> None:
    flat = np.random.default_rng(0).standard_normal(shape.size)
    named = _parts(flat, shape)
    tensors = shape.unpack(flat)
    assert [name.replace(".", "_") for name in tensors] == list(named)
    for tensor, part in zip(tensors.values(), named.values(), strict=True):
        np.testing.assert_array_equal(part.astype(np.float32), tensor)


def _parts(flat: np.ndarray, shape: Shape) -> dict[str, np.ndarray]:
    function = getattr(parts_of, "py_func", parts_of)
    return function(flat, shape.encoder, shape.decoder, shape.mechanisms)._asdict()


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.of for block in BLOCKS} == {"slot", "npu", "row"}
