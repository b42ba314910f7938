"""The commands: flags, steps, exit codes; one file per command."""
