"""The Gymnasium environments: a thin shell around the simulator."""
