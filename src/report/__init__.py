"""One page that says what a study found: ``eval.py --report``."""
