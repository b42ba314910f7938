"""Score the trained models of a study and fit the scaling law: ``python eval.py --help``."""

import sys

try:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # this clone's own code

    from dataworth.commands.cli import run_subcommand
except KeyboardInterrupt:  # the first moment: from here on, signals are handled
    print("interrupted by SIGINT", file=sys.stderr)
    sys.exit(130)

if __name__ == "__main__":
    run_subcommand("eval")
