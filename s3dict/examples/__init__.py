"""Programs that show what a shared dict is good for, each run by ``python -m s3dict.examples.<name>``.

They use the bucket that the environment variables name, as ``s3dict dev`` prints them. Without ``S3DICT_BUCKET`` they
start a local S3 server (extra ``local``). README.md in this folder lists them.
"""
