"""All scenarios, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .clients import clients_killed
from .disk import disk_full
from .kills import radosgw_killed, seaweed_killed
from .network import PROFILES, network, no_response
from .results import Result
from .runner import Lab
from .skew import clock_skew
from .soak import soak

__all__ = ["ON_CEPH", "SCENARIOS", "SOAK"]

SOAK = "soak"
ON_CEPH = "radosgw killed"

SCENARIOS: dict[str, Callable[[Lab], Result]] = {
    "server killed": seaweed_killed,
    ON_CEPH: radosgw_killed,
    "clients killed": clients_killed,
    **{name: partial(network, profile=profile) for name, profile in PROFILES.items()},
    "no responses": no_response,
    "disk full": disk_full,
    "clocks wrong": clock_skew,
    SOAK: soak,
}
