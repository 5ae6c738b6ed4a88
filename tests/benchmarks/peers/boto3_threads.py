"""boto3 under a thread pool, as people write it by hand."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from .peer import REGION, Place, serve
from .raw_boto3 import RawBoto3

NAME = "boto3 + threads"
STANDS_ON = "botocore"
REQUIREMENTS = ()


class Boto3Threads(RawBoto3):
    cold_start = ""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        config = Config(max_pool_connections=place.concurrency)
        self.client = boto3.client("s3", endpoint_url=place.endpoint, region_name=REGION, config=config)
        self.pool = ThreadPoolExecutor(place.concurrency)

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        def put(pair: tuple[str, bytes]) -> None:
            self.client.put_object(Bucket=self.place.bucket, Key=f"{folder}/{pair[0]}", Body=pair[1])

        for _ in self.pool.map(put, pairs):
            pass

    async def read_all(self, folder: str) -> int:
        return sum(map(len, self.pool.map(self._body, self._paths(folder))))


if __name__ == "__main__":
    serve(Boto3Threads)
