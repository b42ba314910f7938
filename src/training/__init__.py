"""From batches to the checkpoint of one fresh run."""
