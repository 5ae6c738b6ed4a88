"""s3dict over obstore, blocking, with a callable for `on_request` that does nothing."""

from __future__ import annotations

from .peer import serve
from .s3dict_dict import Blocking

NAME = "s3dict, on_request"
STANDS_ON = "obstore"
REQUIREMENTS = ()
IS_VARIANT = True


class S3DictOnRequest(Blocking):
    driver = "obstore"
    on_request = staticmethod(lambda event: None)


if __name__ == "__main__":
    serve(S3DictOnRequest)
