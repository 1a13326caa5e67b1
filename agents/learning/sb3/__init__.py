"""What the algorithms of stable-baselines3 share: options, the adapter of the environment, returns by time, the training loop."""
