"""The hardware model: layer shapes, lowering, timing, compiled programs."""
