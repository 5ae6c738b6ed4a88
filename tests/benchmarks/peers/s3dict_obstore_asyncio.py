"""s3dict over obstore, in asyncio."""

from __future__ import annotations

from .peer import serve
from .s3dict_dict import Asyncio, asyncio_cold_start

NAME = "s3dict, asyncio"
STANDS_ON = "obstore"
REQUIREMENTS = ()


class S3DictObstoreAsyncio(Asyncio):
    driver = "obstore"
    cold_start = asyncio_cold_start(driver)


if __name__ == "__main__":
    serve(S3DictObstoreAsyncio)
