"""The machine: a deterministic event-driven kernel (compiled) and the simulator that owns its arrays."""
