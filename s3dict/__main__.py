"""``python -m s3dict`` is the command ``s3dict``."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
