"""Explorer: a local web page with the predictions of each subset size and the scaling law."""
