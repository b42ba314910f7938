"""Commands of the console script: flags, steps, exit codes; one file per command."""
