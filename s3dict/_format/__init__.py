"""What is stored in the bucket: pure functions between Python values and bytes, no I/O."""
