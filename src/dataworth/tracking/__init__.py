"""Experiment trackers: an evaluated study replayed into MLflow, trackio or Weights & Biases."""
