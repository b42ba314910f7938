"""Launchers: train the runs of a study on this machine, on a Ray cluster, or with Slurm."""
