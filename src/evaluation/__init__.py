"""From checkpoints to errors with intervals, and the file that holds them."""
