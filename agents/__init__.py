"""Learned policies: training, evaluation, published weights. The top of the stack: nothing below imports it.

* ``network/``: the network that scores slots, in compiled code (``compiled``, ``rollouts``) and in torch (``torch_network``);
* ``publishing/``: weights as files with cards, and learned policies behind the interface of all policies;
* ``pretrained/``: the published weights;
* ``learning/``: training, that is, the run and its folder, the objective, the episodes of selection, the registries;
* ``learning/algorithms/``: one file per training algorithm, with its options and its function ``train(run, options)``;
* ``learning/sb3/``: what the algorithms of stable-baselines3 share, the adapter of the environment among it;
* ``learning/networks/``: one file per network that gradients train, with its options and its function ``build``;
* ``commands/``: the command lines.

The modules beside this file are the entry points of ``python -m agents.X``; each hands over to ``commands/X.py``:

* ``train``: train a scheduler and publish its weights; ``publish``: make the best network of a run a policy with a name;
* ``evaluate``: compare a policy with others; ``pictures``: draw the learning curves of runs; ``export``: write a policy as ONNX;
* ``tune_index``: tune the index rules that learning starts from; ``tune_gate``: tune the rule for unlike NPUs;
* ``front``: train and measure a family along a front.

A training algorithm of your own: ``docs/extending/agent.md``.
"""
