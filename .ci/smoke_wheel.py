"""Play an episode and compare two policies with an installed wheel: ``python smoke_wheel.py CLONE``, from outside the clone."""

import importlib.util
import sys
from pathlib import Path

import gymnasium as gym

import agents
import baselines
import prema_gym

EXTRAS = ("torch", "stable_baselines3", "pandas", "onnx", "bokeh", "optuna")


def main(clone: Path) -> None:
    """Check where the packages come from, then use them."""
    for package in (prema_gym, baselines, agents):
        home = Path(package.__path__[0]).resolve()
        assert not home.is_relative_to(clone), f"{package.__name__} was imported from the clone: {home}"
        assert (home / "py.typed").is_file(), f"{home} has no py.typed"
    for name in EXTRAS:
        assert importlib.util.find_spec(name) is None, f"{name} is installed: the core was to stand alone"

    env = gym.make("Prema-v0")
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
        steps, over = steps + 1, terminated or truncated
    print(f"gymnasium {gym.__version__}: a random episode of {steps} steps, ANTT {info['metrics']['antt']:.3f}")

    results = baselines.evaluate(["NP-FCFS", "PREMA"], episodes=20, seed=1)
    results.to_json("smoke.json")
    assert Path("smoke.json").stat().st_size > 0
    print("evaluate: 20 paired episodes under NP-FCFS and PREMA")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
