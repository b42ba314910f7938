"""From a name or a folder to batches: decoded once, subsets nested, randomness seeded."""
