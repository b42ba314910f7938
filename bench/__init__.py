"""Speed against the usual recipes; forecasts of measured curves: ``python -m bench --help``."""
