"""Name what is on pictures, by a trained run: ``python predict.py --help``."""

from src.cli import predict

if __name__ == "__main__":
    predict()
