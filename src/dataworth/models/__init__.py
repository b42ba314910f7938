"""Image classifiers with fresh weights, by name."""
