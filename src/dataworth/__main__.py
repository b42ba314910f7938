"""``python -m dataworth`` is the console script ``dataworth``."""

from .commands.cli import main

if __name__ == "__main__":
    main()
