"""Files on disk: study and run directories, identity, locks, snapshots, logs, disk space."""
