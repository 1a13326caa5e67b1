"""What all algorithms that learn by gradients share: options, returns by time, the adaptive reward; and the project's own PPO."""
