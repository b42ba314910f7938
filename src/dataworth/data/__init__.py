"""Data set name or folder -> labelled splits -> nested subsets -> cached pixels -> batches."""
