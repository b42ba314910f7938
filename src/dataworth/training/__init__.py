"""Training of one run: step, epoch, run; state, optimiser, checkpoints."""
