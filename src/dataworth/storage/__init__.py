"""All that lies on disk: study and run directories, identity, locks, snapshots, logs."""
