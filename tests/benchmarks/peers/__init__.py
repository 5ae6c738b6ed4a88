"""Ways of keeping a dict in a bucket, one file each; ``peer`` is what they have in common.

A file names itself, what it depends on and what to install for it, in literals that are read without importing it:

    NAME = "s3fs"
    STANDS_ON = "botocore"  # or "obstore"
    REQUIREMENTS = ("s3fs>=2025.9",)

One without requirements runs where s3dict is installed, over the same releases of boto3 and obstore.
"""
