"""s3fs's mapping of a folder (FSMap), with its bulk methods."""

# pyright: reportMissingImports=false
# (it is installed in an environment of its own)

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import s3fs
from fsspec.config import conf

from .peer import REGION, Peer, Place, serve

NAME = "s3fs"
STANDS_ON = "botocore"
REQUIREMENTS = ("s3fs>=2025.9",)
_BATCH = 1000


class S3fsMap(Peer):
    cold_start = """
import s3fs
mapping = s3fs.S3Map("{bucket}", s3fs.S3FileSystem(endpoint_url="{endpoint}"))
print(len(mapping["{key}"]), flush=True)
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        conf.update(gather_batch_size=place.concurrency, nofiles_gather_batch_size=place.concurrency)
        # Listings are kept unless one says otherwise, and would be those of before.
        self.files = s3fs.S3FileSystem(
            endpoint_url=place.endpoint,
            client_kwargs={"region_name": REGION},
            config_kwargs={"max_pool_connections": place.concurrency},
            use_listings_cache=False,
        )

    async def put(self, folder: str, key: str, value: bytes) -> None:
        self._mapping(folder)[key] = value

    async def get(self, folder: str, key: str) -> bytes:
        value: bytes = self._mapping(folder)[key]
        return value

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._mapping(folder).setitems(dict(pairs))

    async def read_all(self, folder: str) -> int:
        mapping = self._mapping(folder)
        keys, total = iter(mapping), 0
        while batch := list(islice(keys, _BATCH)):
            total += sum(map(len, mapping.getitems(batch).values()))
        return total

    async def count(self, folder: str) -> int:
        return len(self._mapping(folder))

    async def keys(self, folder: str) -> list[str]:
        return list(self._mapping(folder))

    def _mapping(self, folder: str) -> s3fs.S3Map:
        return s3fs.S3Map(f"{self.place.bucket}/{folder}", self.files)


if __name__ == "__main__":
    serve(S3fsMap)
