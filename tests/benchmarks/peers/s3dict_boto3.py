"""s3dict over boto3."""

from __future__ import annotations

from .peer import serve
from .s3dict_dict import Blocking, blocking_cold_start

NAME = "s3dict on boto3"
STANDS_ON = "botocore"
REQUIREMENTS = ()


class S3DictBoto3(Blocking):
    driver = "boto3"
    cold_start = blocking_cold_start(driver)


if __name__ == "__main__":
    serve(S3DictBoto3)
