"""Benchmarks: speed against usual recipes, accuracy of forecasts; ``python -m bench --help``."""
