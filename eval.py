"""Measure the error of every trained model and fit the law: ``python eval.py --help``."""

from src.cli import evaluate

if __name__ == "__main__":
    evaluate()
