"""What release 0.1 stored, and the tests that it is still read."""
