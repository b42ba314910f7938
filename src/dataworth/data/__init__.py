"""A data set's name or folder -> labelled splits -> nested subsets -> cached pixels -> batches."""
