"""Name what is on pictures, by a trained run: ``python predict.py --help``."""

from src.signals import listening

if __name__ == "__main__":
    with listening():  # to signals, from the first import on
        from src.cli import predict

        predict()
