"""One training run: the step, the epoch, the run; state, optimiser, checkpoints."""
