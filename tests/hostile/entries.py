"""Every public entry, called with hostile values: each may succeed or raise a ``PremaError``, and nothing else may happen."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agents.learning.checkpoint import Saved, load, save
from agents.network.slots.layout import Shape
from agents.publishing.weights import load_weights, save_weights
from baselines import evaluate, make_policy, policy_of, register_policy
from baselines.policies.lookahead import lookahead
from hostile.values import anything, damaged, spoilt
from prema_gym import (
    BatchedGemm,
    Conv2d,
    Embedding,
    Gemm,
    Loop,
    Network,
    Program,
    Vector,
    compile_model,
    register_model,
    register_npu,
    register_program,
)
from prema_gym.cli import main
from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig
from prema_gym.envs.prema_env import PremaEnv
from prema_gym.envs.reward import reward_weights
from prema_gym.envs.vector_env import PremaVectorEnv
from prema_gym.errors import ConfigError
from prema_gym.workloads import from_csv, from_profile
from prema_gym.workloads.importing.file import from_file
from prema_gym.workloads.jsonl import load_trace
from prema_gym.workloads.models import Model
from prema_gym.workloads.programs import known_models

WORKLOAD: dict[str, Any] = {
    "models": ["short"], "num_tasks": 3, "batches": [1], "priorities": [1, 9], "window": 0.5, "predictor_error": 0.0, "sla": 4.0,
    "hoist_inputs": False, "mix": None, "arrivals": None,
}  # fmt: skip
ARRIVALS: dict[str, Any] = {
    "process": "bursty",
    "utilisation": 0.5,
    "burst_factor": 4.0,
    "burst_share": 0.2,
    "burst_requests": 20.0,
}
CLASS: dict[str, Any] = {"model": "short", "batch": [1, 4], "weight": 1.0, "priority": {"1": 1.0, "9": 2.0}, "sla": {"ms": 5}}
CONFIG: dict[str, Any] = {
    "npu": "prema", "npus": None, "reward": "antt", "mechanisms": ["CHECKPOINT", "KILL"], "slots": 3, "horizon_requests": None,
    "decision_every": 2, "quantum_cycles": 20, "scheduler_latency_cycles": 0, "allow_idle": False, "strict": False,
    "batching": 1,
}  # fmt: skip
NPU: dict[str, Any] = {
    "array_rows": 8, "array_cols": 8, "clock_hz": 1000, "ubuf_bytes": 4096, "wbuf_bytes": 1024, "accumulator_rows": 16,
    "vector_lanes": 8, "dram_bytes_per_second": 1000, "dram_channels": 1, "dram_latency_cycles": 3, "operand_bytes": 2,
    "accumulator_bytes": 4, "weight_loading": "prefetched",
}  # fmt: skip
TASK: dict[str, Any] = {"arrival_cycles": 0, "model": "short", "batch": 1, "priority": 3, "sla": 4.0, "prediction_factor": 1.5}
LAYERS: tuple[tuple[type, dict[str, Any]], ...] = (
    (Gemm, {"m": 2, "k": 8, "n": 4, "name": "", "inputs": ()}),
    (BatchedGemm, {"count": 2, "m": 2, "k": 2, "n": 2, "inputs": ()}),
    (Conv2d, {"in_channels": 2, "out_channels": 2, "height": 4, "width": 4, "kernel": (3, 3), "stride": (1, 1), "groups": 1}),
    (Vector, {"outputs": 8, "ops_per_output": 1, "kind": "softmax"}),
    (Embedding, {"dim": 4, "vectors": 2}),
    (Loop, {"name": "loop", "steps": 3, "body": (Gemm(1, 8, 8, name="cell"),), "collect": ("cell",)}),
)
PROFILE = b"layer,batch,cycles,live_bytes\nconv1,1,100,64\nconv2,1,50,32\nconv1,8,700,512\nconv2,8,300,256\n"
TOPOLOGY = (
    b"Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    b"Conv1, 16, 16, 3, 3, 3, 8, 1,\nConv2, 14, 14, 3, 3, 8, 4, 1,\n"
)
COMMAND = ["--tasks", "2", "--seed", "1", "--window", "0.5", "--batches", "1", "--models", "short"]


@cache
def prepared() -> tuple[PremaEnv, PremaVectorEnv, Path, PremaEnv]:
    """Return an environment, three rows, a folder of valid files, and a stream."""
    register_program("short", Program.from_points(100, [10, 50]))
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    shape = Shape(1, 1, 1)
    save_weights(folder / "net", shape, shape.initial(np.zeros(3), 0), {})
    save(folder / "checkpoint", Saved({"done": 1}, "a line\n", b"payload", np.zeros(4), {"shape": {}}))
    task = {name: value for name, value in TASK.items() if name != "sla"}
    (folder / "trace.jsonl").write_text(json.dumps(task) + "\n" + json.dumps({**task, "arrival_cycles": 9}) + "\n")
    (folder / "profile.csv").write_bytes(PROFILE)
    (folder / "topology.csv").write_bytes(TOPOLOGY)
    from_csv(folder / "topology.csv").save(folder / "saved.json")
    stream = PremaEnv(workload=WORKLOAD, horizon_requests=4)  # what it is made of is compiled here, where nobody waits for it
    for env in (stream, PremaEnv(workload=WORKLOAD, batching=4)):
        env.reset(seed=1)
        env.step(1)
    return PremaEnv(workload=WORKLOAD), PremaVectorEnv(3, workload=WORKLOAD), folder, stream


def _written(rng: random.Random, name: str) -> Path:
    """Return a damaged copy of a valid file."""
    folder = prepared()[2]
    target = folder / f"damaged-{name}"
    target.write_bytes(damaged(rng, (folder / name).read_bytes()))
    return target


def _check_finite(*values: Any) -> None:
    for value in values:
        assert np.isfinite(value).all(), f"{value!r} is no number"


# --- The entries --------------------------------------------------------------------------------------------------------------


def configuration(rng: random.Random) -> None:
    """Make a configuration of spoilt fields, and take it apart."""
    kind, fields = rng.choice(((EnvConfig, CONFIG), (WorkloadConfig, WORKLOAD), (NPUConfig, NPU)))
    given: Any = anything(rng) if rng.random() < 0.1 else spoilt(rng, fields)
    config = kind.coerce(given)
    json.dumps(config.to_dict(), allow_nan=False)
    assert kind.coerce(config.to_dict()) == config


def environment(rng: random.Random) -> None:
    """Make an environment of spoilt arguments and play a few steps."""
    prepared()
    workload = spoilt(rng, WORKLOAD) if rng.random() < 0.5 else dict(WORKLOAD)
    draw = rng.random()
    if draw < 0.3:
        workload |= {"window": 0.5, "arrivals": spoilt(rng, ARRIVALS)}
    elif draw < 0.5:
        workload = {"num_tasks": 3, "mix": [spoilt(rng, CLASS)]}
    config = {**CONFIG, "batching": rng.choice((1, 1, 4))}
    arguments = {**(spoilt(rng, config, 1) if rng.random() < 0.5 else config), "workload": workload}
    if arguments.get("slots") is not None and isinstance(arguments["slots"], int) and arguments["slots"] > 64:
        arguments["slots"] = 64
    env = PremaEnv(**arguments)
    _, info = env.reset(seed=1)
    for _ in range(20):
        observation, reward, terminated, truncated, info = env.step(int(np.flatnonzero(info["action_mask"])[-1]))
        _check_finite(observation, reward)
        if terminated or truncated:
            break


def step(rng: random.Random) -> None:
    """Step a single environment by whatever is at hand."""
    env = prepared()[0]
    env.reset(seed=rng.randrange(100))
    observation, reward, *_ = env.step(anything(rng))
    _check_finite(observation, reward)


def reset(rng: random.Random) -> None:
    """Reset environments with hostile seeds and options."""
    env = rng.choice(prepared()[:2])
    options: Any = rng.choice((None, {"trace": anything(rng)}, {"reset_mask": anything(rng)}, anything(rng)))
    observation, _ = env.reset(seed=anything(rng), options=options)
    _check_finite(observation)


def step_rows(rng: random.Random) -> None:
    """Step three rows by whatever is at hand."""
    env = prepared()[1]
    env.reset(seed=rng.randrange(100))
    actions = anything(rng) if rng.random() < 0.4 else [anything(rng, 0) for _ in range(3)]
    observations, rewards, *_ = env.step(actions)
    _check_finite(observations, rewards)


def state(rng: random.Random) -> None:
    """Take states out of hostile rows, put hostile states into rows, and good ones into hostile rows."""
    single, env, *_ = prepared()
    single.reset(seed=rng.randrange(100))
    env.reset(seed=rng.randrange(100))
    given = rng.choice((lambda: env.get_state(anything(rng)), lambda: anything(rng), single.get_state))()
    rng.choice((single.set_state, env.set_state, lambda kept: env.set_state(kept, anything(rng))))(given)
    _check_finite(env.view().observation)


def rows(rng: random.Random) -> None:
    """Make rows of hostile numbers and modes."""
    fields = {"num_envs": 2, "autoreset_mode": "SameStep", "split": "env", "threads": 1, "render_mode": None}
    PremaVectorEnv(**spoilt(rng, fields), workload=WORKLOAD).close()


def trace(rng: random.Random) -> None:
    """Play a trace of spoilt tasks."""
    env = prepared()[0]
    tasks: Any = [spoilt(rng, TASK) if rng.random() < 0.7 else dict(TASK) for _ in range(rng.randint(1, 4))]
    observation, _ = env.reset(options={"trace": tasks})
    _check_finite(observation)
    _check_finite(env.step(0)[1])


def stream_trace(rng: random.Random) -> None:
    """Play spoilt requests as a stream: a list of them, or a damaged file."""
    env = prepared()[3]
    tasks: Any = [spoilt(rng, TASK) if rng.random() < 0.4 else dict(TASK) for _ in range(rng.randint(1, 5))]
    given = rng.choice((tasks, str(_written(rng, "trace.jsonl")), anything(rng)))
    observation, info = env.reset(options={"trace": given})
    _check_finite(observation)
    assert info["action_mask"].any()
    _check_finite(env.step(int(np.flatnonzero(info["action_mask"])[-1]))[1])
    json.dumps(env.requests(), allow_nan=False)


def trace_file(rng: random.Random) -> None:
    """Read a damaged trace."""
    prepared()
    load_trace(_written(rng, "trace.jsonl"), known_models(), 700_000_000)


def policy_name(rng: random.Random) -> None:
    """Ask for a policy by a hostile name."""
    names = ("PREMA", "JSQ/", "GATE/", "LEAST-LOADED/", "/", "NP-FCFS", "GATE/GATE", "JSQ/JSQ/SJF", "P-")
    given = anything(rng) if rng.random() < 0.5 else "".join(rng.choices(names, k=rng.randint(1, 3)))
    rng.choice((make_policy, policy_of))(given)


def planning(rng: random.Random) -> None:
    """Make a lookahead of hostile arguments over some rule."""
    fields = {"objective": "antt", "futures": 4, "requests": 4, "seed": 1, "name": "LOOK"}
    base = anything(rng) if rng.random() < 0.3 else make_policy(rng.choice(("P-SJF", "GATE", "RANDOM", "PREMA")))
    kind = anything(rng) if rng.random() < 0.2 else rng.choice(("LOOKAHEAD", "LOOKAHEAD-CLAIRVOYANT"))
    lookahead(kind, base, **_known(spoilt(rng, fields), fields))


def registration(rng: random.Random) -> None:
    """Register hostile things by hostile names."""
    name, thing = anything(rng), anything(rng)
    if isinstance(name, str) and name.strip():
        name = "hostile"  # names that are taken stay as they are
    calls: tuple[Callable[[], Any], ...] = (
        lambda: register_program(name, thing),
        lambda: register_program(name, {thing if isinstance(thing, str) else "edge": Program.from_points(10, [5])}),
        lambda: register_program(name, {1: Program.from_points(10, [5]), rng.choice((2, 3, 64)): thing}),
        lambda: register_npu(name, thing),
        lambda: register_model(thing),
        lambda: register_model(Model(name, lambda: thing)),
        lambda: register_policy("" if isinstance(name, str) else name, thing),
    )
    rng.choice(calls)()


def program(rng: random.Random) -> None:
    """Make a program of hostile points."""
    fields = {"total_cycles": 100, "commit_cycles": [10, 50], "save_bytes": [1, 2], "restore_bytes": None, "refill_cycles": 0,
              "predicted_cycles": 90, "name": "made"}  # fmt: skip
    made = Program.from_points(**{"total_cycles": 100, "commit_cycles": [10], **_known(spoilt(rng, fields), fields)})
    assert made.total_cycles >= 1
    assert made.predicted_cycles >= 1


def _known(given: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in fields}


def network(rng: random.Random) -> None:
    """Compile layers of spoilt sizes."""
    layers = []
    for kind, fields in rng.choices(LAYERS, k=rng.randint(1, 3)):
        layers.append(kind(**{**fields, **_known(spoilt(rng, fields), fields)}))
    model: Any = rng.choice((layers, Network("net", anything(rng), tuple(layers)), layers, anything(rng)))
    fields = {"batch": 1, "output_lengths": 1, "predicted_cycles": None, "name": "net"}
    options = _known(spoilt(rng, fields), fields) if rng.random() < 0.3 else {}
    npu = {**NPU, **_known(spoilt(rng, NPU, 1), NPU)} if rng.random() < 0.5 else NPU
    made = compile_model(model, npu=npu, **options)
    assert made.total_cycles >= 1
    assert (np.diff(made.totals) >= 0).all()


def rewards(rng: random.Random) -> None:
    """Weigh reward terms by whatever is at hand."""
    given = anything(rng) if rng.random() < 0.5 else {rng.choice(("antt", "stp", "nonesuch")): anything(rng)}
    _check_finite(reward_weights(given))


def importing(rng: random.Random) -> None:
    """Import networks from damaged files."""
    prepared()
    name = rng.choice(("profile.csv", "topology.csv", "saved.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what could not be lowered
        model = from_file(_written(rng, name))
        if name != "profile.csv":
            compile_model(model, npu=NPU)  # type: ignore[arg-type]
        else:
            model.program(1)  # type: ignore[union-attr]


def profile(rng: random.Random) -> None:
    """Import a measured network from spoilt rows."""
    row = {"layer": "conv", "batch": 1, "cycles": 100, "live_bytes": 64}
    given: Any = anything(rng) if rng.random() < 0.2 else [spoilt(rng, row) for _ in range(2)]
    if isinstance(given, (str, Path)):
        return
    from_profile(given).program(1)


def weights(rng: random.Random) -> None:
    """Read damaged weights, or the right ones beside a damaged card."""
    folder = prepared()[2]
    other = folder / "damaged.safetensors"
    parts = {".safetensors": (folder / "net.safetensors").read_bytes(), ".json": (folder / "net.json").read_bytes()}
    spoil = rng.choice(sorted(parts))
    parts[spoil] = damaged(rng, parts[spoil])
    for suffix, data in parts.items():
        other.with_suffix(suffix).write_bytes(data)
    _check_finite(load_weights(other).flat)


def checkpoint(rng: random.Random) -> None:
    """Read a damaged checkpoint."""
    prepared()
    load(_written(rng, "checkpoint"))


def evaluation(rng: random.Random) -> None:
    """Evaluate policies with hostile arguments."""
    prepared()
    fields = {"policies": ["NP-FCFS"], "episodes": 2, "seed": 1, "split": "valid", "threads": 1, "traces": None}
    given = {"policies": ["NP-FCFS"], **_known(spoilt(rng, fields, 1), fields)}
    if isinstance(given.get("episodes"), (int, np.integer)) and given["episodes"] > 10_000:
        given["episodes"] = 10_000
    if isinstance(given.get("threads"), (int, np.integer)) and given["threads"] > 8:
        given["threads"] = 8
    results = evaluate(**given, workload=WORKLOAD)
    _check_finite(*(values[:, 0] for values in results.values.values()))


def command_line(rng: random.Random) -> None:
    """Call commands with spoilt words; an error is exit code 2 and one line."""
    prepared()
    words = [rng.choice(("simulate", "inspect", "compare", "completion", "nonesuch", "--version")), *COMMAND, "--json"]
    words += ["--policies", "NP-FCFS", "--episodes", "2"] if words[0] == "compare" else []
    for _ in range(rng.randint(1, 4)):
        value = str(rng.choice(("", "-1", "nan", "1e999", "9" * 5000, "\0", "short", "--tasks", "--help", "CNN-XX", "x.csv", "é")))
        words[rng.randrange(len(words))] = value
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status = main(words)
        except SystemExit as stopped:
            status = stopped.code  # type: ignore[assignment]
    if status not in (0, None, 2):
        raise AssertionError(f"{words}: exit code {status}")
    if status == 2:
        raise ConfigError(errors.getvalue())


ENTRIES: dict[str, Callable[[random.Random], None]] = {
    entry.__name__: entry
    for entry in (
        configuration, environment, step, reset, step_rows, state, rows, trace, stream_trace, trace_file, policy_name, planning,
        registration, program, network, rewards, importing, profile, weights, checkpoint, evaluation, command_line,
    )
}  # fmt: skip
"""Every entry by name."""
