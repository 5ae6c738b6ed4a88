"""For pickles of 0.1: see `s3dict._legacy`."""
