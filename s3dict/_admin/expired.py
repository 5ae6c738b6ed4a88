"""Expired entries of existing dicts: absent for every reader, but still listed until the lifecycle deletes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._client import Client
from .._core.iteration import remove_expired
from .._core.listing import read_folder
from .._dict import Dict
from .._format.layout import is_valid_name, validate_name
from .._stores.shared.threads import run_blocking
from ..errors import IntegrityError
from .usage import list_dicts

__all__ = ["dicts_of", "expire"]


def dicts_of(
    client: Client,
    environment_name: str | None,
    on_loaded: Callable[[int], None],
    on_damaged: Callable[[IntegrityError], None],
) -> list[tuple[str, Dict[Any, Any]]]:
    """Return the named dicts of an environment, or of all, each with its environment.

    `on_loaded` is called with 1 after each dict, `on_damaged` with an error for each whose manifest is damaged.

    Requests: 1 if all are wanted, and for each environment a listing and 1 for each dict.

    Raises:
        InvalidError: The environment's name is not valid.
    """
    if environment_name is not None:
        environments = [validate_name(environment_name, "environment")]
    else:
        environments = run_blocking(_environments(client))
    return [
        (environment, handle)
        for environment in environments
        for handle in list_dicts(client, environment, lambda _done, _total: on_loaded(1), on_damaged)
    ]


def expire(d: Dict[Any, Any], *, dry_run: bool = False, on_read: Callable[[int], None] = lambda _: None) -> int:
    """Remove the expired entries of a dict that a listing still shows; return how many there are.

    Requests: a listing, 1 for each entry, and 1 for each that is removed.

    Args:
        d: The dict.
        dry_run: Only count them.
        on_read: Called with 1 after each entry.
    """
    return run_blocking(remove_expired(run_blocking(d._open()), dry_run=dry_run, on_read=on_read))


async def _environments(client: Client) -> list[str]:
    folder = client._layout.manifests_of_all
    found = await read_folder(client._store(aio=False), folder)
    names = [path.removeprefix(folder).removesuffix("/") for path in found.folders]
    return sorted(name for name in names if is_valid_name(name))
