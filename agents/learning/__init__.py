"""How policies are learned.

* ``training``: a run from names and values; ``arguments``, ``options``: what a run can be told;
* ``registry``: algorithms and networks by name;
* ``run``: folder, clock and checkpoints; ``selection``, ``objective``: which policy is the best; ``log``: what is recorded;
* ``algorithms/``, ``networks/``: one file each; ``gradients/``: what those share that learn by gradients, and the project's own
  PPO; ``sb3/``: what the algorithms of stable-baselines3 share;
* ``index_rule``: where learning starts;
* ``linear``: the smallest learner, to read first; ``hypervolume``: families of policies compared.
"""
