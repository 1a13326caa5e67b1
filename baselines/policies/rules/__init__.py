"""The rules that heuristics are made of: one file per family, and the registry of them by name."""
