"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from dataclasses import asdict

from s3dict._client import Client
from s3dict._pickle import restore

from .config import Settings


def _client_here(settings: Settings) -> Client:
    client: Client = restore("Client", asdict(settings))
    return client
