"""Programs that show what a Dict is good for. Each runs with ``python -m s3dict.examples.<name>``."""
