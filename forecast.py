"""Fit the law to measured errors and forecast: ``python forecast.py --help``."""

from src.signals import listening

if __name__ == "__main__":
    with listening():  # to signals, from the first import on
        from src.cli import forecast

        forecast()
