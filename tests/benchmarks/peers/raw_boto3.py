"""boto3 as it comes, one request after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import boto3

from .peer import REGION, Peer, Place, serve

NAME = "raw boto3"
STANDS_ON = "botocore"
REQUIREMENTS = ()


class RawBoto3(Peer):
    cold_start = """
import boto3
client = boto3.client("s3", endpoint_url="{endpoint}")
print(len(client.get_object(Bucket="{bucket}", Key="{key}")["Body"].read()), flush=True)
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.client = boto3.client("s3", endpoint_url=place.endpoint, region_name=REGION)

    async def put(self, folder: str, key: str, value: bytes) -> None:
        self.client.put_object(Bucket=self.place.bucket, Key=f"{folder}/{key}", Body=value)

    async def get(self, folder: str, key: str) -> bytes:
        return self._body(f"{folder}/{key}")

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        for key, value in pairs:
            await self.put(folder, key, value)

    async def read_all(self, folder: str) -> int:
        return sum(len(self._body(path)) for path in self._paths(folder))

    async def count(self, folder: str) -> int:
        return sum(1 for _ in self._paths(folder))

    async def keys(self, folder: str) -> list[str]:
        return list(self._paths(folder))

    def _body(self, path: str) -> bytes:
        return self.client.get_object(Bucket=self.place.bucket, Key=path)["Body"].read()

    def _paths(self, folder: str) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.place.bucket, Prefix=f"{folder}/")
        return (line.get("Key", "") for page in pages for line in page.get("Contents", ()))


if __name__ == "__main__":
    serve(RawBoto3)
