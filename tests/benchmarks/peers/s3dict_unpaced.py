"""s3dict over obstore, blocking, whose bulk operations bypass the rate controller."""

from __future__ import annotations

from s3dict._stores.shared.rate_control import HasPacedView

from .peer import serve
from .s3dict_dict import Blocking

NAME = "s3dict, without rate control"
STANDS_ON = "obstore"
REQUIREMENTS = ()
IS_VARIANT = True


class S3DictUnpaced(Blocking):
    driver = "obstore"


if __name__ == "__main__":
    HasPacedView.paced = lambda self: self  # type: ignore[method-assign]
    serve(S3DictUnpaced)
