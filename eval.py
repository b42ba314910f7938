"""Measure the error of every trained model and fit the law: ``python eval.py --help``."""

from src.signals import listening

if __name__ == "__main__":
    with listening():  # to signals, from the first import on
        from src.cli import evaluate

        evaluate()
