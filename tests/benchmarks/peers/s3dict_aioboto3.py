"""s3dict over aioboto3."""

from __future__ import annotations

from .peer import serve
from .s3dict_dict import Asyncio, asyncio_cold_start

NAME = "s3dict on aioboto3"
STANDS_ON = "botocore"
REQUIREMENTS = ()


class S3DictAioboto3(Asyncio):
    driver = "boto3"
    cold_start = asyncio_cold_start(driver)


if __name__ == "__main__":
    serve(S3DictAioboto3)
