"""What cancellation, timeouts, signals, forks and snapshots do to each operation: the rows of the guide's table."""
