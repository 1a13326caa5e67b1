"""How policies are learned: algorithms, objective, and the folder of a run."""
