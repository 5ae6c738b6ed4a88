"""What s3dict survives, for as long as one likes: ``python -m tests.chaos``; the short form is part of the tests."""
