"""obstore as it comes, blocking; many at a time under a thread pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import obstore
from obstore.store import S3Store

from .peer import REGION, Peer, Place, serve

NAME = "raw obstore"
STANDS_ON = "obstore"
REQUIREMENTS = ()


class RawObstore(Peer):
    cold_start = """
import obstore
from obstore.store import S3Store
store = S3Store("{bucket}", endpoint="{endpoint}", client_options=dict(allow_http=True))
print(len(obstore.get(store, "{key}").bytes()), flush=True)
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.store = S3Store(place.bucket, endpoint=place.endpoint, region=REGION, client_options={"allow_http": True})
        self.pool = ThreadPoolExecutor(place.concurrency)

    async def put(self, folder: str, key: str, value: bytes) -> None:
        obstore.put(self.store, f"{folder}/{key}", value)

    async def get(self, folder: str, key: str) -> bytes:
        return self._body(f"{folder}/{key}")

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        def put(pair: tuple[str, bytes]) -> None:
            obstore.put(self.store, f"{folder}/{pair[0]}", pair[1])

        for _ in self.pool.map(put, pairs):
            pass

    async def read_all(self, folder: str) -> int:
        return sum(map(len, self.pool.map(self._body, self._paths(folder))))

    async def count(self, folder: str) -> int:
        return sum(1 for _ in self._paths(folder))

    async def keys(self, folder: str) -> list[str]:
        return list(self._paths(folder))

    def _body(self, path: str) -> bytes:
        return bytes(obstore.get(self.store, path).bytes())

    def _paths(self, folder: str) -> Iterator[str]:
        pages = obstore.list(self.store, f"{folder}/", chunk_size=1000)
        return (line["path"] for page in pages for line in page)


if __name__ == "__main__":
    serve(RawObstore)
