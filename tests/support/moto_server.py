"""moto's S3, as a server whose requests are atomic."""

from __future__ import annotations

from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import create_backend_app

from .wsgi_server import AtomicServer

__all__ = ["MotoServer"]


class MotoServer(AtomicServer):
    """moto's S3 on a free port of 127.0.0.1, which accepts any credentials.

        with MotoServer() as server:
            client = boto3.client("s3", endpoint_url=server.url, ...)

    moto's own threaded server reads and then writes without a lock, so two contenders may both win. moto
    keeps its buckets in the process: servers that live at the same time share them, and the last of them to be
    closed takes them along.
    """

    _open = 0

    def __init__(self) -> None:
        super().__init__(create_backend_app("s3"))
        MotoServer._open += 1

    def __enter__(self) -> MotoServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        super().close()
        MotoServer._open -= 1
        if not MotoServer._open:
            BackendDict.reset()
