"""Explore a finished study in the browser, on this machine alone: ``python app.py --help``."""

from src.cli import explore

if __name__ == "__main__":
    explore()
