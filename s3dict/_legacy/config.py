"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a client, in the order of 0.1."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    region_name: str | None
    environment_name: str
    driver: str
    max_value_bytes: int
    concurrency: int
    cache_seconds: float | None
    timeout_seconds: float
