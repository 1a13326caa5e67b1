"""What all algorithms that learn by gradients share, whoever implements them: options, returns by time, the adaptive reward."""
