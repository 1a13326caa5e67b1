"""The paper's study, piece by piece: what is played, how it is summed up, and its figure. ``baselines.reproduce`` runs them."""
