"""From errors to a fitted law, a forecast and figures. Needs no torch."""
