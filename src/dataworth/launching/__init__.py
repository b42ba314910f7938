"""Launchers, which execute the runs of a study: this machine, a Ray cluster, Slurm."""
