"""Fit the scaling law to measured errors and forecast: ``python forecast.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this clone's own code

from dataworth.signals import handle_signals

if __name__ == "__main__":
    with handle_signals():  # from the first import on
        from dataworth.commands.forecast import forecast

        forecast()
