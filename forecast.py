"""Fit the law to measured errors and forecast: ``python forecast.py --help``."""

from src.cli import forecast

if __name__ == "__main__":
    forecast()
