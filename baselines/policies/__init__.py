"""The schedulers: whom to run, how to switch, and the registry of them by name."""
