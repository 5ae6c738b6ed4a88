"""s3dol's bucket store, a MutableMapping over boto3."""

# pyright: reportMissingImports=false
# (it is installed in an environment of its own)

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import s3dol

from .peer import REGION, Peer, Place, serve

NAME = "s3dol"
STANDS_ON = "botocore"
REQUIREMENTS = ("s3dol>=1.0",)


class S3dolStore(Peer):
    cold_start = """
import s3dol
store = s3dol.s3_store("{bucket}", endpoint_url="{endpoint}", region_name="us-east-1")
print(len(store["{key}"]), flush=True)
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.store = s3dol.s3_store(place.bucket, endpoint_url=place.endpoint, region_name=REGION)
        self.folders: dict[str, MutableMapping[str, bytes]] = {}

    async def put(self, folder: str, key: str, value: bytes) -> None:
        self._sub(folder)[key] = value

    async def get(self, folder: str, key: str) -> bytes:
        return self._sub(folder)[key]

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._sub(folder).update(pairs)

    async def read_all(self, folder: str) -> int:
        return sum(len(value) for _, value in self._sub(folder).items())

    async def count(self, folder: str) -> int:
        return sum(1 for _ in self._sub(folder))  # it has no len, on purpose

    async def keys(self, folder: str) -> list[str]:
        return list(self._sub(folder))

    def _sub(self, folder: str) -> MutableMapping[str, bytes]:
        if folder not in self.folders:
            self.folders[folder] = s3dol.sub(self.store, f"{folder}/")
        return self.folders[folder]


if __name__ == "__main__":
    serve(S3dolStore)
