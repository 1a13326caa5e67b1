"""README and pages are followed as a reader would: code from top to bottom, commands one by one, tables held to the code."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from baselines.policies.registry import POLICIES
from baselines.policies.rules.registry import SELECTION_RULES, SWITCHING_RULES
from prema_gym.config import EnvConfig, NPUConfig, WorkloadConfig
from prema_gym.envs.reward import REWARD_TERMS
from prema_gym.metrics import METRICS
from prema_gym.workloads.models import MODELS
from prema_gym.workloads.programs import REGISTERED

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "bash", "console")
FENCE = re.compile(r"^```([\w-]*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

SMALLER = (
    (re.compile(r"episodes=\d?\d\d[_\d]*\d{2}\b"), "episodes=50"),
    (re.compile(r"total_timesteps=\d[_\d]*\d{3}\b"), "total_timesteps=256"),
)
"""What long runs are cut down to: from a thousand episodes or steps."""
SKIPPED_CODE = {
    "RecordVideo": "needs moviepy, which no extra brings",
}
"""Blocks that aren't run: what they contain, and why."""
MAKE_RUNS = {"compare": "baselines.compare"}
"""Targets that are run here; of all others it is only checked that make knows them."""
SMALL_ARGUMENTS = {
    "-m baselines.compare": "--episodes 5 --quiet --output results",
    "-m baselines.reproduce": "--episodes 2 --quiet --no-figures --output results",
    "prema-gym compare": "--episodes 5 --quiet --output results",
    "prema-gym reproduce": "--episodes 2 --quiet --no-figures --output results",
    "prema-gym bench": "--quick",
}
"""Appended to long commands; the last value of an option counts."""
SKIPPED_COMMANDS = {
    "python3 -m venv": "makes a virtual environment",
    "source": "activates a virtual environment",
    "pip install": "needs the network",
    ".venv/bin/pip": "needs the network",
    "git clone": "needs the network",
    "jupyter": "starts a server; tests/project/test_notebooks.py runs the notebooks",
    "mkdocs serve": "starts a server",
    "tensorboard": "starts a server",
    "bash .ci/run": "runs these tests",
    "pytest": "runs these tests",
    "python -m pytest": "runs these tests",
    "python examples/": "takes long; tests/project/test_examples.py runs them",
    "python -m baselines.sweep --engine ray": "needs Ray; tests/scaling run it where it is installed",
    "python -m baselines.compare --policies PREMA WSRPT results/rllib": "needs a run of agents.rllib",
    "ray ": "needs Ray and a cluster; tests/scaling start one where it is installed",
    "docker build": "needs Docker and the network; tests/scaling read the file",
    "python -m baselines.headroom": "takes long; tests/planning/test_headroom.py runs it",
    "prema-gym train": "takes long; the tests of the command line run it",
    "python -m agents": "takes long; the tests of agents run it",
}
"""Commands that aren't run: how they start, and why."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    text: str
    line: int


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    text = text_of(page)
    found = []
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match[2])
        found.append(Block(match[1], title[1] if title else "", match[3], text.count("\n", 0, match.start()) + 1))
    return found


def commands_of(page: str) -> list[str]:
    lines = [line for block in blocks_of(page) if block.language in SHELLS for line in block.text.splitlines()]
    commands = [re.sub(r"\s+#\s.*$", "", line.removeprefix("$ ")).strip() for line in lines]
    return [command for command in commands if command and not command.startswith("#")]


COMMANDS = [(page, command) for command, page in {command: page for page in PAGES[::-1] for command in commands_of(page)}.items()]
"""Every command once, with the first page that has it."""
CODE = [page for page in PAGES if any(block.language == "python" for block in blocks_of(page)) and "/extending/" not in page]
"""Pages with code; those on extending are followed by tests of their own."""


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """Work in an empty folder, and forget the policies, rules and networks that a page registers."""
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    registries = (POLICIES._factories, SELECTION_RULES, SWITCHING_RULES, MODELS, REGISTERED, NPUConfig.PRESETS)
    list(POLICIES)  # plug-ins are loaded before the copy is taken
    before = [dict(registry) for registry in registries]
    yield tmp_path
    for registry, copy in zip(registries, before, strict=True):
        registry.clear()
        registry.update(copy)
    plt.close("all")


def follow(page: str, folder: Path) -> dict[str, object]:
    """Run the code of ``page`` from top to bottom; write the blocks that have a title into files of ``folder``."""
    names: dict[str, object] = {"__name__": "__page__"}
    for block in blocks_of(page):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and not any(sign in block.text for sign in SKIPPED_CODE):
            code = block.text
            for pattern, smaller in SMALLER:
                code = pattern.sub(smaller, code)
            # Empty lines in front, so that a traceback names the line of the page.
            exec(compile("\n" * block.line + code, page, "exec"), names)
    return names


@pytest.mark.parametrize("page", CODE)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, workshop):
    follow(page, workshop)


# --- Commands ------------------------------------------------------------------------------------------------------------------


def run(command: str, folder: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "NO_COLOR": "1", "MPLBACKEND": "agg"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    python = Path(sys.executable).parent
    environment["PATH"] = f"{python}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def small(command: str) -> str:
    """Return ``command`` with small arguments in place of what takes long."""
    for part, arguments in SMALL_ARGUMENTS.items():
        if part in command and "--list" not in command:
            return f"{command} {arguments}"
    return command


def as_python(command: str) -> str | None:
    """Return what a ``make`` command runs, None for targets that are not run here."""
    words = shlex.split(command)
    arguments = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")]
    module = MAKE_RUNS.get(words[1]) if len(words) > 1 else None
    return f"python -m {module} {' '.join(arguments)}" if module else None


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_the_commands_of_a_page_run(page, command, tmp_path):
    command = command.replace(".venv/bin/python ", "python ")
    for start, reason in SKIPPED_COMMANDS.items():
        if command.startswith(start):
            pytest.skip(f"{command}: {reason}")
    if command.startswith("make"):
        target = next((word for word in shlex.split(command)[1:] if "=" not in word), "")
        run(f"make --dry-run --silent {target}", ROOT)
        command = as_python(command) or ""
    if "make_requests.py" in command or "mine.jsonl" in command:
        pytest.skip("test_requests_of_your_own runs them in turn")
    if "my_npu" in command:
        pytest.skip("test_an_npu_of_your_own runs it, beside the page's module")
    if "RESPONSE-RATIO" in command:
        pytest.skip("test_a_heuristic_of_your_own runs it, with the plug-in installed")
    if command:
        assert command.startswith(("python ", "prema-gym ")), f"{page}: {command}: say in this file how to test it, or why not"
        run(small(command), tmp_path)


def test_requests_of_your_own(tmp_path):
    block = next(block for block in blocks_of("README.md") if block.title == "make_requests.py")
    (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    commands = [command for command in commands_of("README.md") if "make_requests.py" in command or "mine.jsonl" in command]
    assert len(commands) == 2
    run(commands[0], tmp_path)
    printed = run(f"{commands[1]} --policies NP-FCFS WSRPT --quiet", tmp_path)
    assert "1 stream of 10000 requests" in printed
    assert "deadline misses" in printed
    assert (tmp_path / "results" / "compare.png").stat().st_size > 5_000


# --- Tables and links ----------------------------------------------------------------------------------------------------------


def tables_module():
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["README.md", "docs/baselines.md", "docs/environment.md"])
def test_tables_are_those_that_the_code_makes(page):
    tables = tables_module()
    assert page in tables.PAGES
    assert text_of(page) == tables.renewed(text_of(page)), "run .venv/bin/python docs/tables.py"


def cells(page: str) -> dict[str, list[str]]:
    """Return the table rows of a page by the code in their first cell; the first table that has a name counts."""
    rows = re.findall(r"^\| `([\w`, ]+)` \| (.+) \|$", text_of(page), re.MULTILINE)
    return {name: rest.split(" | ") for names, rest in rows[::-1] for name in re.split(r"`, `", names)}


@pytest.mark.parametrize(
    ("page", "config"),
    [("docs/environment.md", EnvConfig), ("docs/environment.md", WorkloadConfig), ("docs/extending/npu.md", NPUConfig)],
)
def test_every_field_is_listed_with_its_default(page, config):
    listed = cells(page)
    default = config()
    for field in dataclasses.fields(config):
        assert field.name in listed, field.name
        value = getattr(default, field.name)
        if field.name in ("npu", "workload", "models"):
            continue  # said in words
        plain = list(value) if isinstance(value, tuple) else value
        said = listed[field.name][0].strip("`").replace('"', "'")
        assert said == (repr(plain)), field.name


def test_every_preset_reward_term_and_metric_is_listed():
    assert cells("docs/extending/npu.md").keys() >= NPUConfig.PRESETS.keys()
    environment = cells("docs/environment.md")
    assert environment.keys() >= {*REWARD_TERMS, *METRICS, "sla_violation_at"}


def test_every_key_of_info_is_listed():
    import gymnasium as gym

    env = gym.make("prema_gym:Prema-v0", workload={"models": ["CNN-AN"], "num_tasks": 1})
    _, info = env.reset(seed=0)
    *_, last = env.step(env.action_space.sample(info["action_mask"]))
    assert cells("docs/environment.md").keys() >= last.keys()


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text_of(page)):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_page_is_in_the_site():
    navigation = text_of("mkdocs.yml")
    missing = [page for page in PAGES[1:] if page.removeprefix("docs/") not in navigation]
    assert missing == []


# --- "Add your own", followed ----------------------------------------------------------------------------------------------------


def install(folder: Path) -> None:
    """Do what an installer does with ``pyproject.toml``: note the entry points beside the module."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in project["entry-points"].items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


def test_a_heuristic_of_your_own(workshop):
    page = "docs/extending/heuristic.md"
    names = follow(page, workshop)
    from baselines import evaluate

    results = evaluate(["PREMA", "RESPONSE-RATIO"], episodes=200, split="valid")
    assert results.difference("RESPONSE-RATIO", "PREMA", "fairness").better
    assert results.difference("PREMA", "RESPONSE-RATIO", "antt").better
    assert (workshop / "response_ratio.png").stat().st_size > 0
    assert "MY-INDEX" in names["results"].policies
    assert names["compared"].difference("P-RATIO", "P-HPF", "antt").better
    assert names["compared"].policies[-1] == "FIRST-OF-RANK"
    install(workshop)
    (command,) = commands_of(page)
    table = run(small(command), workshop, path=workshop)
    assert re.search(r"^ RESPONSE-RATIO +\d", table, re.MULTILINE)


def test_a_model_of_your_own(workshop):
    names = follow("docs/extending/model.md", workshop)
    assert {task["model"] for task in names["env"].unwrapped.tasks()} == {"TEN-STEPS"}
    assert names["model"].macs() == 6_815_744
    assert names["program"].total_cycles == sum(layer["cycles"] for layer in names["program"].layer_table())
    assert names["results"].factor("PREMA", "antt").ratio.mean >= 1


def test_a_reward_of_your_own(workshop):
    names = follow("docs/extending/reward.md", workshop)
    assert names["total"] < 0
    assert names["rewards"].shape == (4,)


def test_a_reward_term_of_your_own_is_one_file_and_sums_to_what_the_page_says(workshop, monkeypatch):
    follow("docs/extending/reward.md", workshop)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling it takes a minute
    summed, expected = map(float, run("python play.py", workshop, path=ROOT).split())
    assert summed < -1
    assert summed == pytest.approx(expected)


def test_an_npu_of_your_own(workshop, capsys, monkeypatch):
    monkeypatch.syspath_prepend(workshop)
    names = follow("docs/extending/npu.md", workshop)
    assert names["named"].unwrapped.config.npu == NPUConfig.preset("quarter") == names["mine"]
    assert names["faster"] == dataclasses.replace(names["mine"], clock_hz=1_000_000_000)
    (command,) = commands_of("docs/extending/npu.md")
    assert "PREMA" in run(command, workshop, path=ROOT)
    assert "wbuf_bytes = 1048576" in capsys.readouterr().out
    assert names["env"].unwrapped.config.npu == names["mine"]
    assert names["same"].unwrapped.config.npu.array_rows == 32


def test_an_agent_of_your_own(workshop):
    from baselines import evaluate

    names = follow("docs/extending/agent.md", workshop)
    learned = names["LinearScore"](names["mean"])
    results = evaluate(["PREMA", learned], episodes=200)
    assert results.difference("LINEAR", "PREMA", "weighted_antt").better
    assert results.difference("PREMA", "LINEAR", "fairness").better
    assert results.mean("LINEAR", "illegal_actions") == 0


def test_a_training_algorithm_of_your_own(workshop):
    page = "docs/extending/agent.md"
    for block in blocks_of(page):
        if block.title:
            (workshop / block.title).write_text(block.text, encoding="utf-8")
    training, evaluation = commands_of(page)
    small = "--steps 2 --episodes 8 --valid-episodes 20 --evaluations 1"
    assert "results/mine/best.safetensors: on valid" in run(f"{training} {small}", workshop, path=ROOT)
    card = json.loads((workshop / "results" / "mine" / "best.json").read_text(encoding="utf-8"))
    assert card["algorithm"] == "random_search"
    assert (card["arguments"]["step_size"], card["arguments"]["steps"]) == (0.1, 2)
    assert "INDEX" in run(f"{evaluation} --episodes 20", workshop, path=ROOT)
    run(f"{training} {small} --steps 3 --resume", workshop, path=ROOT)
    assert len((workshop / "results" / "mine" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 2
