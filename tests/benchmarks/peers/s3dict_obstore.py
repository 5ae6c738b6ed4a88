"""s3dict over obstore, blocking."""

from __future__ import annotations

from .peer import serve
from .s3dict_dict import Blocking, blocking_cold_start

NAME = "s3dict"
STANDS_ON = "obstore"
REQUIREMENTS = ()


class S3DictObstore(Blocking):
    driver = "obstore"
    cold_start = blocking_cold_start(driver)


if __name__ == "__main__":
    serve(S3DictObstore)
