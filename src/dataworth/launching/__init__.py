"""Where the runs of a study execute: this machine, a Ray cluster, Slurm."""
