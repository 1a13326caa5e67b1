"""Masked PPO of RLlib on the native vector environment: the environment, the module, and the run."""
