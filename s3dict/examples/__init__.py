"""Programs that show what a shared dict is good for, each run by ``python -m s3dict.examples.<name>``.

They use the store that the environment names, as ``s3dict dev`` prints it. Where it names none, they start a local S3
for themselves (extra ``local``).
"""
