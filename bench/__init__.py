"""Speed against the usual recipes: ``python -m bench --help``."""
