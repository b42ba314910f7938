"""Score the trained models of a study and fit the scaling law: ``python eval.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this clone's own code

from dataworth.signals import handle_signals

if __name__ == "__main__":
    with handle_signals():  # from the first import on
        from dataworth.commands.eval import evaluate

        evaluate()
