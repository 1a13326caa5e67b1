"""Batches of networks with lengths, on the reference: the programs that they run, from the compiler's own."""

from __future__ import annotations

from typing import Any

import pytest
from reference.machine import Machine
from reference.parts import Hardware, Program, Rules, Task
from tools.several_npus import give
from tools.twin import network_programs, network_tasks

from prema_gym import NPUConfig
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import compile_program

NPUS = {"plain": NPUConfig(), "brisk": NPUConfig(dram_bytes_per_second=2 * NPUConfig().dram_bytes_per_second)}


def _hardware(name: str) -> Hardware:
    npu = NPUS[name]
    return Hardware(name, npu.dram_bytes_per_second, npu.dram_latency_cycles, npu.clock_hz)


def _request(model: str, **entries: Any) -> dict[str, Any]:
    usual = {"batch": 1, "input_length": None, "output_length": 1, "prediction_factor": 1.0, "priority": 1}
    return {"model": model, "arrival_cycles": 0, "deadline_cycles": -1, **usual, **entries}


def _machine(requests: list[dict[str, Any]], *names: str, batching: int = 4) -> Machine:
    program_of = network_programs(NPUS)
    rules = Rules(tuple(map(_hardware, names)), slots=4, quantum=10**12, batching=batching)
    return Machine(rules, network_tasks(requests, program_of, names), program_of)


def test_a_batch_has_the_longest_input_and_the_longest_output_of_its_members() -> None:
    # Three translations, samples 1 + 1 + 1, padded to 4. The longest input is 12, twice; the older of the two says how far off
    # the prediction is, the other has the shorter output.
    requests = [
        _request("RNN-MT1", input_length=9, output_length=3, prediction_factor=1.5),
        _request("RNN-MT1", input_length=12, output_length=5, prediction_factor=0.5),
        _request("RNN-MT1", input_length=12, output_length=2, prediction_factor=2.0),
    ]
    machine = _machine(requests, "plain")
    alone = [compile_program(MODELS["RNN-MT1"], 1, NPUS["plain"], length) for length in (9, 12)]
    assert [task.isolated for task in machine.tasks] == [
        int(p.totals[n - 1]) for p, n in zip([*alone, alone[1]], (3, 5, 2), strict=True)
    ]
    machine.step(give(2))
    together = compile_program(MODELS["RNN-MT1"], 4, NPUS["plain"], 12)
    total = int(together.totals[4])
    assert [event.task for event in machine.log[4:]] == [0, 1, 2, 2, 0, 1]
    assert [event.event for event in machine.log[3:]] == ["dispatch", "join", "join", "run", *["completion"] * 3]
    assert {event.cycle for event in machine.log[7:]} == {total} == {machine.account.useful}
    program = machine.tasks[2].program
    assert program.predicted == round(0.5 * together.predicted_cycles)
    assert program.estimated
    assert list(program.commits[:5]) == together.commit_cycles[:5].tolist()


def test_a_batch_is_predicted_on_every_configuration_and_runs_on_the_asked_one() -> None:
    machine = _machine(
        [_request("RNN-SA", input_length=15, batch=4), _request("RNN-SA", input_length=28)], "plain", "brisk", batching=8
    )
    machine.step(0)
    assert machine.question is not None
    assert machine.question.npu.index == 1
    machine.step(give(0))
    leader = machine.tasks[0]
    expected = {name: compile_program(MODELS["RNN-SA"], 8, npu, 28) for name, npu in NPUS.items()}
    assert {name: program.predicted for name, program in leader.programs_now.items()} == {
        name: program.predicted_cycles for name, program in expected.items()
    }
    assert machine.clock == expected["brisk"].total_cycles
    assert expected["plain"].total_cycles != expected["brisk"].total_cycles


def test_an_output_beyond_what_the_program_has_is_its_longest() -> None:
    program_of = network_programs(NPUS)
    longest = compile_program(MODELS["RNN-MT1"], 2, NPUS["plain"], 9).totals
    for length, expected in ((1, longest[0]), (len(longest), longest[-1]), (10**6, longest[-1])):
        program = program_of("RNN-MT1", "plain", 2, 9, length)
        assert program is not None
        assert program.total == expected


@pytest.mark.parametrize(("leader", "members", "total"), [(0, [0, 1], 29), (1, [1, 0, 2], 49)])
def test_sizes_are_looked_up_at_the_input_length_of_the_leader(leader: int, members: list[int], total: int) -> None:
    # At input 7 only size 2 is known, at input 9 sizes 2 and 4. Inputs are 7, 9, 9: led by the first, two run as one, at input 9;
    # led by the second, all three.
    def program_of(model: str, configuration: str, size: int, input_length: int | None, output_length: int) -> Program | None:
        total = {(2, 7): 27, (2, 9): 29, (4, 9): 49}.get((size, input_length or 0))
        return None if total is None else Program((), (), (), (), total, total)

    own = {length: {"plain": Program((), (), (), (), 10 + length, 10 + length)} for length in (7, 9)}
    tasks = [Task(index, 0, 1, own[length], model="any", input_length=length) for index, length in enumerate((7, 9, 9))]
    machine = Machine(Rules((_hardware("plain"),), slots=3, quantum=10**9, batching=4), tasks, program_of)
    machine.step(give(leader))
    ended = [event for event in machine.log if event.event == "completion"]
    assert [event.task for event in ended[: len(members)]] == members
    assert {event.cycle for event in ended[: len(members)]} == {total}
