"""Agents of other libraries as policies: models of stable-baselines3, torch modules, ONNX files."""
