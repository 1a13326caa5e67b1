"""A model of stable-baselines3 or sb3-contrib at the table: ``evaluate(["PREMA", policy_from_sb3(model)])``."""

from __future__ import annotations

import inspect
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.policies.card import Card, card_path, read_card, write_card
from agents.policies.network import NetworkPolicy
from prema_gym.config import EnvConfig
from prema_gym.envs.view import View
from prema_gym.errors import PolicyError, missing_package, shown
from prema_gym.files import is_file

SUFFIX = ".zip"
RUNS_CODE = "opening an archive of stable-baselines3 runs code that it holds: open only what you trust."
"""What is said before an archive is opened."""


class SB3Policy(NetworkPolicy):
    """A trained model as a policy; :func:`policy_from_sb3` makes one.

    ``model`` is anything with the ``predict`` of stable-baselines3: an algorithm, or the policy that an archive holds.
    """

    def __init__(self, model: Any, name: str, card: Card) -> None:
        super().__init__(name, card)
        self.model = model
        self.actions = int(model.action_space.n)
        shape = model.observation_space.shape
        self.features = int(shape[0]) if shape is not None and len(shape) == 1 else None
        self._masked = "action_masks" in inspect.signature(model.predict).parameters
        self._state: Any = None
        """Of a recurrent model: what it remembers of each row."""
        self._starts = np.zeros(0, np.bool_)
        """(N,) rows whose next decision is the first of their episode."""
        self._normalised = _normaliser(model)

    def start_episodes(self, starts: np.ndarray) -> None:
        """Forget, before the next decision, what is remembered of the rows (N,) bool in which an episode starts."""
        if len(self._starts) != len(starts) or starts.all():
            self._state = None
        self._starts = starts.copy()

    def act(self, view: View, truth: np.ndarray | None = None) -> np.ndarray:
        """Return (N,) int64 actions: the most likely ones, of the legal ones where the model knows masks."""
        self.check(view)
        self.warn_if_it_lacks(view.config)
        masks: dict[str, Any] = {"action_masks": view.mask.astype(np.bool_)} if self._masked else {}
        if len(self._starts) != view.rows:  # nobody has told: these are other rows than before
            self.start_episodes(np.ones(view.rows, np.bool_))
        seen = view.observation if self._normalised is None else self._normalised(view.observation)
        actions, self._state = self.model.predict(seen, state=self._state, episode_start=self._starts, deterministic=True, **masks)
        self._starts = np.zeros(view.rows, np.bool_)
        return np.asarray(actions, np.int64)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model's archive to ``path`` and the card beside it; return the archive's path."""
        if not hasattr(self.model, "learn"):
            raise PolicyError(f"{self.name}: was read from an archive: copy that file, and its card.")
        if self._normalised is not None:
            raise PolicyError(
                f"{self.name}: was trained on normalised observations, and an archive doesn't hold how (VecNormalize)."
            )
        target = Path(path)
        target = target if target.suffix == SUFFIX else target.with_name(f"{target.name}{SUFFIX}")
        target.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(target)
        write_card(target, self.card)
        return target


def is_sb3_model(thing: object) -> bool:
    """Whether ``thing`` is a model: it predicts, and has discrete actions and a space of observations."""
    spaces = getattr(thing, "observation_space", None), getattr(thing, "action_space", None)
    return callable(getattr(thing, "predict", None)) and hasattr(spaces[0], "shape") and hasattr(spaces[1], "n")


def _normaliser(model: Any) -> Callable[[np.ndarray], Any] | None:
    """Return what a model's VecNormalize makes of observations; None where it has none, as after loading."""
    wrapper = getattr(model, "get_vec_normalize_env", lambda: None)()
    return wrapper.normalize_obs if wrapper is not None and wrapper.norm_obs else None


def _environment_config(model: Any) -> EnvConfig | None:
    """Return the configuration that the model's environment was made with; None where the model has none, as after loading."""
    get_env = getattr(model, "get_env", None)
    env = None if get_env is None else get_env()
    if env is None:
        return None
    native = getattr(env.unwrapped if hasattr(env, "unwrapped") else env, "native", None)
    if native is not None:
        config: EnvConfig = native.config
        return config
    try:
        return env.get_attr("unwrapped", 0)[0].config
    except AttributeError:
        return None


def policy_from_sb3(
    model: Any, name: str | None = None, *, mechanisms: Sequence[str] | None = None, asked_every: int | None = None
) -> SB3Policy:
    """Return a model of stable-baselines3 or sb3-contrib as a policy that ``evaluate`` plays as it was trained.

    Raises :class:`prema_gym.errors.PolicyError` where the model has no discrete actions or an unknown mechanism is given.

    Parameters
    ----------
    model: a trained model, or the path of its ``.zip``, whose loading runs code that is in it. MaskablePPO is given masks, others
        play without; recurrent ones are told where episodes start.
    name: in tables; the algorithm's, or the file's, by default.
    mechanisms, asked_every: of the environment that it was trained on. By default they are asked of ``model.get_env()``, or read
        from the card beside the file; where neither says, it is asked on arrivals and completions, and its number of actions tells
        how many mechanisms there were.

    """
    if isinstance(model, (str, os.PathLike)):
        return _opened(Path(model), name, mechanisms, asked_every)
    if not is_sb3_model(model):
        raise PolicyError(
            f"policy_from_sb3({shown(model)}): must be a model of stable-baselines3 with discrete actions, or a .zip."
        )
    trained = _environment_config(model)
    card = Card() if trained is None else Card(trained.mechanisms, trained.decision_every, trained.allow_idle)
    return SB3Policy(model, name or type(model).__name__, card.stated("policy_from_sb3", mechanisms, asked_every))


# --- Archives -------------------------------------------------------------------------------------------------------------------


def _opened(path: Path, name: str | None, mechanisms: Sequence[str] | None, asked_every: int | None) -> SB3Policy:
    """Return the policy in the archive at ``path``, whatever algorithm trained it."""
    if not is_file(path):
        raise PolicyError(f"{path}: is no file.")
    if not zipfile.is_zipfile(path):
        raise PolicyError(f"{path}: is no archive of stable-baselines3.")
    card = read_card(path)
    unsaid = (
        f" It has no card ({card_path(path).name}): its number of actions tells its mechanisms, and it is asked at events only."
        if card is None and mechanisms is None
        else ""
    )
    print(f"{path}: {RUNS_CODE}{unsaid}", file=sys.stderr, flush=True)
    needs = (card or Card()).stated(str(path), mechanisms, asked_every)
    return SB3Policy(_read_policy(path), name or path.stem, needs)


def _read_policy(path: Path) -> Any:
    """Return the policy network of an archive: built as its algorithm builds it, with the weights that are there."""
    try:
        from stable_baselines3.common.save_util import load_from_zip_file
    except ModuleNotFoundError as error:
        raise missing_package(f"{path}", error.name) from error
    try:
        data, parameters, _ = load_from_zip_file(path, device="cpu")
        assert data is not None
        assert parameters is not None
        made = {key: value for key, value in (data.get("policy_kwargs") or {}).items() if key != "device"}
        extra = {"use_sde": True} if data.get("use_sde") else {}
        policy = data["policy_class"](data["observation_space"], data["action_space"], lambda _: 0.0, **extra, **made)
        policy.load_state_dict(parameters["policy"])
    except ModuleNotFoundError as error:
        raise missing_package(f"{path}", error.name) from error
    except Exception as error:  # an archive holds whatever its author put there
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PolicyError(f"{path}: can't be read as an archive of stable-baselines3 ({reason}).") from error
    if not is_sb3_model(policy):
        raise PolicyError(
            f"{path}: has no discrete actions ({shown(data['action_space'])}): it was not trained on this environment."
        )
    policy.set_training_mode(False)
    return policy
