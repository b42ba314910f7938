"""Explore a finished study in the browser, on this machine alone: ``python app.py --help``."""

from src.signals import listening

if __name__ == "__main__":
    with listening():  # to signals, from the first import on
        from src.cli import explore

        explore()
