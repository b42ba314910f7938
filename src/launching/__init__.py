"""Ways to execute the runs of a study: in this process, on a Ray cluster, on Slurm."""
