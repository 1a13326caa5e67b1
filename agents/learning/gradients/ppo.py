"""PPO that never plays an illegal action, in one file: proximal policy optimisation (Schulman et al., arXiv 1707.06347).

From top to bottom: the probabilities of legal actions, the loss, what a rollout holds, the trainer that collects rollouts and
learns from them, the policy that is evaluated. What differs from the usual implementation:

* the environment writes observations and masks into the rollout itself; logits are kept while playing, so that probabilities and
  values are computed for the whole rollout at once;
* a step's discount follows the time that it covered, and an episode that was cut is worth what would have followed;
* the critic learns returns in units of their running spread: rewards of a stream differ by orders of magnitude with its load;
* rows may play at several loads at once, so that a policy which can't hold the highest yet learns from the lowest.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from agents.learning.checkpoint import load_arrays, save_arrays
from agents.learning.gradients.options import MaskedPPOOptions as Options
from agents.learning.gradients.returns import advantages, discounts
from agents.learning.gradients.reward import AdaptiveReward, first_reward, seed_of_rows
from agents.learning.gradients.rows import Rows, at_loads
from agents.learning.registry import module_builder
from agents.learning.run import Run
from agents.network.actor_critic import ActorCritic
from agents.policies.card import Card
from agents.policies.onnx_file import write_onnx
from agents.policies.torch_module import TorchPolicy
from agents.publishing.policies import LearnedPolicy
from baselines.policies.policy import Policy
from prema_gym.errors import PolicyError

CLOSED = -1e8
"""Logit of an illegal action: its probability is exactly 0, and so is its gradient."""
LEAST_SPREAD = 1e-8
PAST = 0.9
"""Weight of the past in the running mean and spread of returns."""
TRIED_S = 0.2
"""For so long each number of threads is tried."""

# --- Legal actions ----------------------------------------------------------------------------------------------------------------


def log_probabilities(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return the (B, A) logarithms of the probabilities of actions; ``masks`` (B, A) bool tell which are legal."""
    return torch.log_softmax(torch.where(masks, logits, CLOSED), dim=-1)


def entropies(logs: torch.Tensor) -> torch.Tensor:
    """Return the (B,) entropies of (B, A) logarithms of probabilities; illegal actions add nothing."""
    return -(logs.exp() * logs).sum(dim=-1)


# --- The loss ---------------------------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """B decisions of a rollout."""

    observations: torch.Tensor
    masks: torch.Tensor
    """(B, A) bool."""
    actions: torch.Tensor
    """(B,) int64."""
    logs: torch.Tensor
    """(B,) logarithms of the probabilities with which the actions were chosen."""
    advantages: torch.Tensor
    targets: torch.Tensor
    """(B,) returns in the critic's units."""


class Loss(NamedTuple):
    """The loss of a batch, and what is worth knowing of it."""

    total: torch.Tensor
    policy: torch.Tensor
    value: torch.Tensor
    divergence: torch.Tensor
    """KL divergence from the policy that played, estimated as E[r - 1 - ln r] of the probability ratio r."""
    clipped: torch.Tensor
    """Share of decisions whose ratio is outside the clip."""


def loss_of(network: ActorCritic, batch: Batch, options: Options) -> Loss:
    """Return PPO's loss: the clipped objective, the critic's squared error, and the entropy bonus."""
    all_logs = log_probabilities(network(batch.observations), batch.masks)
    moved = all_logs.gather(1, batch.actions.unsqueeze(1)).squeeze(1) - batch.logs
    ratio = moved.exp()
    gain = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + LEAST_SPREAD)
    policy = -torch.min(gain * ratio, gain * ratio.clamp(1.0 - options.clip, 1.0 + options.clip)).mean()
    value = (network.values(batch.observations) - batch.targets).square().mean()
    total = policy + options.value_weight * value
    if options.entropy:
        total = total - options.entropy * entropies(all_logs).mean()
    with torch.no_grad():
        divergence = (ratio - 1.0 - moved).mean()
        clipped = ((ratio - 1.0).abs() > options.clip).float().mean()
    return Loss(total, policy.detach(), value.detach(), divergence, clipped)


# --- The rollout ------------------------------------------------------------------------------------------------------------------


class Rollout:
    """What S steps of n rows brought; observations and masks have a place more, for the decision after the last.

    The environment fills memory of torch's, which is aligned alike in every process: products of matrices can differ in their last
    bit where it isn't, and a resumed run would go another way.
    """

    def __init__(self, steps: int, rows: int, features: int, actions: int) -> None:
        self.observations = torch.zeros(steps + 1, rows, features).numpy()
        self.masks = torch.zeros(steps + 1, rows, actions, dtype=torch.int8).numpy()
        self.logits = torch.zeros(steps, rows, actions)
        self.actions = torch.zeros(steps, rows, dtype=torch.int64)
        self.rewards, self.elapsed_ms = np.zeros((steps, rows)), np.zeros((steps, rows))
        self.alive = np.zeros((steps, rows))
        """0 where the step ended an episode, else 1."""
        self.cuts: list[tuple[int, np.ndarray, np.ndarray]] = []
        """Steps that cut episodes: which step, which rows (k,), and the observations (k, D) that these ended with."""
        self.steps, self.rows = steps, rows

    def begin_again(self) -> None:
        """Make the decision after the last the first."""
        self.observations[0], self.masks[0] = self.observations[-1], self.masks[-1]
        self.cuts.clear()


class Spread:
    """Running mean and standard deviation of returns: the units of the critic."""

    def __init__(self) -> None:
        self.mean, self.square, self.weight = 0.0, 0.0, 0.0

    def update(self, returns: np.ndarray) -> None:
        """Take account of the returns of a rollout."""
        self.mean = PAST * self.mean + (1.0 - PAST) * float(returns.mean())
        self.square = PAST * self.square + (1.0 - PAST) * float(np.square(returns).mean())
        self.weight = PAST * self.weight + (1.0 - PAST)

    @property
    def units(self) -> tuple[float, float]:
        """Mean and standard deviation; 0 and 1 before there were returns."""
        if self.weight == 0.0:
            return 0.0, 1.0
        mean = self.mean / self.weight
        return mean, max(self.square / self.weight - mean * mean, LEAST_SPREAD) ** 0.5


# --- The trainer ------------------------------------------------------------------------------------------------------------------


class Trainer:
    """Collects rollouts and learns from them; all that decides how it goes on is in its checkpoint."""

    def __init__(self, run: Run, options: Options) -> None:
        self.run, self.options = run, options
        self.device = device_of(options.device)
        most_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # initial weights are to be the same everywhere, and their last bits depend on it
        torch.manual_seed(run.arguments.seed)
        self.generator = torch.Generator().manual_seed(run.arguments.seed)
        config = run.arguments.training_config
        trained = (
            config if options.horizon_requests is None else dataclasses.replace(config, horizon_requests=options.horizon_requests)
        )
        self.rows = Rows(at_loads(trained, options.loads), options.rows, first_reward(run.arguments))
        self.network = module_builder(options.network)(run.arguments, config).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=options.learning_rate, eps=1e-5, fused=True)
        self.rollout = Rollout(options.rollout, options.rows, self.rows.features, self.rows.actions)
        self.spread, self.done, self.told = Spread(), 0, dict[str, float]()
        self.reward = AdaptiveReward(run, self.rows.set_reward_weights)
        self.rows.reset(seed_of_rows(run.arguments, 0), self.rollout.observations[-1], self.rollout.masks[-1])
        self.threads = self._choose_threads(most_threads)
        self._steps, self._time = 0, time.monotonic()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return an array where the networks compute, over the same memory where that can be."""
        return torch.from_numpy(array).to(self.device)

    # --- Playing ------------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def collect(self) -> None:
        """Play a rollout: each action with its probability, by the largest of logits with Gumbel noise."""
        rollout = self.rollout
        rollout.begin_again()
        noise = -torch.log(-torch.log(torch.rand(rollout.logits.shape, generator=self.generator).clamp_(min=1e-20)))
        masks = torch.from_numpy(rollout.masks)
        for step in range(rollout.steps):
            logits = self.network(self._tensor(rollout.observations[step])).cpu()
            rollout.logits[step] = logits
            chosen = (torch.where(masks[step] > 0, logits, CLOSED) + noise[step]).argmax(dim=-1)
            rollout.actions[step] = chosen
            found = self.rows.step(chosen.numpy(), rollout.observations[step + 1], rollout.masks[step + 1])
            rollout.rewards[step], rollout.elapsed_ms[step], rollout.alive[step] = found.rewards, found.elapsed_ms, ~found.ended
            if len(found.cut):
                rollout.cuts.append((step, found.cut, found.final))
        self.done += rollout.steps * rollout.rows

    # --- Learning -----------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _values(self, observations: np.ndarray) -> np.ndarray:
        """Return the values of (..., D) observations, in units of the reward."""
        flat = self._tensor(observations.reshape(-1, observations.shape[-1]))
        mean, deviation = self.spread.units
        parts = [self.network.values(part) for part in torch.split(flat, self.options.batch)]
        return mean + deviation * torch.cat(parts).cpu().numpy().astype(np.float64).reshape(observations.shape[:-1])

    def batch(self) -> Batch:
        """Return all decisions of the rollout, with their advantages and the critic's targets."""
        rollout, options = self.rollout, self.options
        values = self._values(rollout.observations)
        cut_values = np.zeros_like(rollout.rewards)
        for step, rows, final in rollout.cuts:
            cut_values[step, rows] = self._values(torch.tensor(final).numpy())
        gammas = discounts(rollout.elapsed_ms, options.horizon_ms, options.gamma)
        gains = advantages(rollout.rewards, values[:-1], gammas, rollout.alive, values[-1], options.gae_lambda, cut_values)
        returns = gains + values[:-1]
        self.spread.update(returns)
        mean, deviation = self.spread.units
        masks = torch.from_numpy(rollout.masks[:-1]).bool().flatten(0, 1)
        actions = rollout.actions.flatten()
        all_logs = log_probabilities(rollout.logits.flatten(0, 1), masks)
        logs = all_logs.gather(1, actions.unsqueeze(1)).squeeze(1)
        self.told = {"entropy": float(entropies(all_logs).mean()), "reward": float(rollout.rewards.mean())}
        numbers = [torch.tensor(array.ravel(), dtype=torch.float32) for array in (gains, (returns - mean) / deviation)]
        observations = torch.from_numpy(rollout.observations[:-1]).flatten(0, 1)
        return Batch(*(part.to(self.device) for part in (observations, masks, actions, logs, *numbers)))

    def _minibatches(self, batch: Batch) -> Iterator[Batch]:
        """Yield the decisions in a new random order, a batch at a time."""
        order = torch.randperm(len(batch.actions), generator=self.generator).to(self.device)
        for chosen in torch.split(order, self.options.batch):
            if len(chosen) > 1:  # a spread of advantages needs two
                yield Batch(*(part.index_select(0, chosen) for part in batch))

    def learn(self) -> None:
        """Update the network on the rollout, until it has moved as far as it may."""
        options, whole = self.options, self.batch()
        rate = options.learning_rate * (1.0 - self.run.progress if options.schedule == "linear" else 1.0)
        self.optimizer.param_groups[0]["lr"] = max(rate, 0.0)
        losses: list[Loss] = []
        for _ in range(options.epochs):
            for batch in self._minibatches(whole):
                loss = loss_of(self.network, batch, options)
                losses.append(loss)
                if options.target_kl is not None and float(loss.divergence) > 1.5 * options.target_kl:
                    break
                self.optimizer.zero_grad()
                loss.total.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.network.parameters(), options.most_gradient)
                self.optimizer.step()
            else:
                continue
            break
        self.told |= {name: float(np.mean([float(getattr(loss, name)) for loss in losses])) for name in Loss._fields[1:]}
        self.told |= {"learning_rate": rate, "torch_threads": self.threads}

    # --- Evaluation and publishing ------------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """Return the policy that plays the largest logit, in compiled code where the network has such a form."""
        published, config = self.network.published(), self.run.arguments.selection_config
        if published is not None:
            return LearnedPolicy("learner", *published, {"asked_every": config.decision_every, "allow_idle": config.allow_idle})
        card = Card(tuple(config.mechanisms), config.decision_every, config.allow_idle)
        return ModulePolicy(self.network, "learner", card, self.rows.features)

    def evaluate(self) -> None:
        """Let the run judge the present policy; adapt the reward."""
        pace = (self.done - self._steps) / max(time.monotonic() - self._time, 1e-9)
        bounds = self.run.evaluate(self.policy(), f"{self.done:,} decisions, {pace:,.0f}/s", self.told)
        self.reward.update(bounds)
        self._steps, self._time = self.done, time.monotonic()

    # --- Checkpoints --------------------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write all that decides how training goes on."""
        arrays = {f"network.{name}": tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            arrays |= {f"adam.{number}.{name}": tensor.cpu().numpy() for name, tensor in moments.items()}
        arrays |= {f"rows.{name}": array for name, array in self.rows.arrays().items()}
        arrays |= {"observations": self.rollout.observations[-1], "masks": self.rollout.masks[-1]}
        arrays["generator"] = self.generator.get_state().numpy()
        save_arrays(path, arrays, {"spread": vars(self.spread), "threads": self.threads, "told": self.told})

    def load(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote, as if nothing had happened."""
        arrays, numbers = load_arrays(path)
        try:
            self.network.load_state_dict({name: self._tensor(array) for name, array in _under("network", arrays).items()})
            fresh = self.optimizer.state_dict()
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for name, array in _under("adam", arrays).items():
                number, _, which = name.partition(".")
                moments.setdefault(int(number), {})[which] = torch.tensor(array)
            self.optimizer.load_state_dict({**fresh, "state": moments})
            self.rows.go_on_from(_under("rows", arrays))
            self.rollout.observations[-1], self.rollout.masks[-1] = arrays["observations"], arrays["masks"]
            self.generator.set_state(torch.from_numpy(arrays["generator"]))
            vars(self.spread).update(numbers["spread"])
            self.threads, self.told = int(numbers["threads"]), dict(numbers["told"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise PolicyError(f"{path}: is no checkpoint of such a run ({error!r}).") from None
        torch.set_num_threads(self.threads)
        self.done = self._steps = self.run.done

    # --- Threads ------------------------------------------------------------------------------------------------------------------

    def _choose_threads(self, most: int) -> int:
        """Set and return the threads of torch: as asked, one where runs are to repeat, else the quickest of up to ``most``."""
        asked = 1 if self.options.torch_threads is None and self.run.arguments.steps is not None else self.options.torch_threads
        if asked is None:
            paces = {count: self._pace(count) for count in _counts(most)}
            asked = max(paces, key=lambda count: paces[count])
            if not self.run.arguments.quiet:
                print("threads of torch: " + ", ".join(f"{count}: {pace:,.0f} decisions/s" for count, pace in paces.items()))
        torch.set_num_threads(asked)
        return asked

    def _pace(self, threads: int) -> float:
        """Return how many decisions a second a copy of the network learns from with so many threads."""
        torch.set_num_threads(threads)
        network, size = copy.deepcopy(self.network), self.options.batch
        observations = torch.zeros(size, self.rows.features, device=self.device)
        begun, passes = time.perf_counter(), 0
        while time.perf_counter() - begun < TRIED_S or passes < 2:
            (network(observations).sum() + network.values(observations).sum()).backward()
            passes += 1
        return passes * size / (time.perf_counter() - begun)


def _counts(most: int) -> list[int]:
    """Return 1, 2, 4, ... up to ``most``."""
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with ``prefix`` and a dot, without these."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def device_of(name: str) -> torch.device:
    """Return the device called ``name``; raises :class:`PolicyError` where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise PolicyError("--device cuda: torch finds no such device here; leave the option out, or give cpu.")
    return torch.device(name)


# --- The policy -------------------------------------------------------------------------------------------------------------------


class ModulePolicy(TorchPolicy):
    """A network that has no compiled form, as a policy that can be written as an ONNX file."""

    def __init__(self, module: Any, name: str, card: Card, features: int) -> None:
        super().__init__(module, name, card)
        self.features: int = features

    def graph(self) -> bytes:
        """Return the file's bytes: observations (B, D) to logits (B, A)."""
        module = copy.deepcopy(self.module).cpu().eval()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the exporter is an old one, and suffices
            file = Path(folder) / "graph.onnx"
            write_onnx(module, self.features, file)
            return file.read_bytes()
