"""Real processes, signals and files: what shared/FAULTS.md promises."""
