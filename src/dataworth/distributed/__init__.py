"""Several processes that train one run: process group, collectives, batch normalisation."""
