"""The layout of the bucket: names, ids and paths.

::

    <prefix>/store.json                                            what this store supports
    <prefix>/manifests/<environment>/<name>.json                   a named dict
    <prefix>/ephemeral/<ulid>.json                                 an ephemeral dict
    <prefix>/sweep-<N>d/named/<environment>/<name>/<ulid>/         one dict's data; `keep/…` when it never expires
    <prefix>/sweep-<N>d/ephemeral/<ulid>/                          likewise
            …/entries/[<2 hex>/]<hash>[.<key>]                     an entry; in a folder if the manifest says so
            …/locks/<hash>                                         a lock
    <prefix>/sweep-1d/probe/<ulid>                                 what a probe has not removed

Lifecycle filters and IAM policies match prefixes only, so what they distinguish comes first. "Swept" means deleted by
an S3 lifecycle expiration rule. All names consist of ``A-Z a-z 0-9 - _ . /``, without empty, ``.`` or ``..`` segments,
no segment is longer than 250 bytes, and no name is both an object and a "folder" of others: beyond that, stores and
clients encode, normalise or reject names differently.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta

from .._record import Record
from ..errors import InvalidError
from .keys import is_object_name

# The id of a lifecycle rule begins with the prefix (`lifecycle.py`), and S3 allows it 255 characters.
MAX_PREFIX_BYTES = 200
MIN_TTL = timedelta(minutes=1)
UNORDERED_FANOUT = 2
"""How many digits of the hash name a folder of entries in a store whose listings have no order."""
FANOUTS = (0, UNORDERED_FANOUT)
SWEEP_DAYS = (1, 2, 8, 35, 105, 420)
# Lifecycle rules count whole days from the last write; the margin of an eighth keeps them clear of live entries.
SWEEP_MARGIN = 8 / 7

_NAME = re.compile(r"[a-zA-Z0-9\-_.]{1,64}")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(rf"[0-7][{_CROCKFORD}]{{25}}")
# Text, and not compiled here: `re` compiles each when it is first needed, by what looks at many dicts.
_OF_NAMED_DICT = (
    rf"manifests/({_NAME.pattern})/({_NAME.pattern})\.json$|[^/]+/named/({_NAME.pattern})/({_NAME.pattern})/"
)
_DATA = (
    rf"((?:keep|sweep-[0-9]+d)/(?:ephemeral|named/({_NAME.pattern})/({_NAME.pattern}))/({_ULID.pattern})/)"
    r"(?:entries/(?:([0-9a-f]{2})/)?|locks/)([^/]+)"
)


def is_valid_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name not in (".", "..")


def validate_name(name: str, what: str = "Dict") -> str:
    """Return the name. Raises InvalidError if it is not valid."""
    if not is_valid_name(name):
        raise InvalidError(
            f"Invalid {what} name: {name!r}. "
            "Names have 1 to 64 of the characters A-Z a-z 0-9 - _ . and are not '.' or '..'"
        )
    return name


def validate_prefix(prefix: str) -> str:
    """Return the prefix without slashes around it. Raises InvalidError if some store may reject it."""
    segments = prefix.strip("/").split("/") if isinstance(prefix, str) else []
    is_valid = all(re.fullmatch(r"[a-zA-Z0-9\-_.]+", s) and s not in (".", "..") for s in segments)
    if not segments or not is_valid or len(prefix) > MAX_PREFIX_BYTES:
        raise InvalidError(
            f"Invalid prefix: {prefix!r}. It has segments of the characters A-Z a-z 0-9 - _ . between slashes, "
            f"{MAX_PREFIX_BYTES} in all at most, none of them '.' or '..'"
        )
    return "/".join(segments)


def validate_ttl(ttl: timedelta | None) -> timedelta | None:
    """Return the ttl. Raises InvalidError if there is no sweep class for it."""
    sweep_class(ttl)
    return ttl


def sweep_class(ttl: timedelta | None) -> str:
    """Return the first segment of a dict's data, which decides which lifecycle rule sweeps it."""
    if ttl is None:
        return "keep"
    if not isinstance(ttl, timedelta) or ttl < MIN_TTL:
        raise InvalidError(
            f"Invalid ttl: {ttl!r}. It is a minute or more, in seconds or as a timedelta, or None for entries that "
            "never expire"
        )
    for days in SWEEP_DAYS:
        if timedelta(days=days) / SWEEP_MARGIN >= ttl:
            return f"sweep-{days}d"
    longest = timedelta(days=SWEEP_DAYS[-1]) / SWEEP_MARGIN
    raise InvalidError(f"Invalid ttl: {ttl}. The longest is {longest}; with ttl=None entries never expire")


def new_ulid(moment: datetime) -> str:
    """Return a ULID (github.com/ulid/spec): 48 bits of milliseconds and 80 random bits, which sort by time."""
    number = int(moment.timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


class DictId(Record):
    """The identity of a dict: its ULID, and what locates its manifest. An ephemeral dict has no environment or name."""

    ulid: str
    environment: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"di-{self.ulid}" if self.name is None else f"di-{self.ulid}:{self.environment}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> DictId:
        """Return the id that `str` wrote. Raises InvalidError for any other text."""
        parts = text.split(":") if isinstance(text, str) else []
        ulid = parts[0][3:] if parts and parts[0].startswith("di-") else ""
        if len(parts) not in (1, 3) or not _ULID.fullmatch(ulid):
            raise InvalidError(f"Invalid Dict id: {text!r}. An id is the `object_id` of a Dict")
        if len(parts) == 1:
            return cls(ulid)
        return cls(ulid, validate_name(parts[1], "environment"), validate_name(parts[2]))


class Layout(Record):
    """The paths under one prefix."""

    prefix: str

    @property
    def store(self) -> str:
        return f"{self.prefix}/store.json"

    @property
    def manifests_of_all(self) -> str:
        return f"{self.prefix}/manifests/"

    def manifests(self, environment: str) -> str:
        return f"{self.manifests_of_all}{environment}/"

    def manifest(self, environment: str, name: str) -> str:
        return f"{self.manifests(environment)}{name}.json"

    def manifest_path(self, dict_id: DictId) -> str:
        if dict_id.environment is None or dict_id.name is None:
            return f"{self.prefix}/ephemeral/{dict_id.ulid}.json"
        return self.manifest(dict_id.environment, dict_id.name)

    def data(self, dict_id: DictId, ttl: timedelta | None, fanout: int = 0) -> DataPaths:
        root = f"{self.prefix}/{sweep_class(ttl)}"
        if dict_id.name is None:
            return DataPaths(f"{root}/ephemeral/{dict_id.ulid}/", fanout)
        return DataPaths(f"{root}/named/{dict_id.environment}/{dict_id.name}/{dict_id.ulid}/", fanout)

    def data_folders(self, environment: str | None = None) -> tuple[str, ...]:
        """Return the folders of all dicts' data, or of the named dicts of one environment."""
        classes = ("keep", *(f"sweep-{days}d" for days in SWEEP_DAYS))
        below = "" if environment is None else f"named/{environment}/"
        return tuple(f"{self.prefix}/{name}/{below}" for name in classes)

    def dict_name_from_path(self, path: str, environment: str) -> str | None:
        """Return the name of the dict whose manifest is at `path`; None if it is not a manifest of the environment."""
        folder = self.manifests(environment)
        name = path[len(folder) :].removesuffix(".json")
        return name if path == f"{folder}{name}.json" and is_valid_name(name) else None

    def parse_data_path(self, path: str) -> tuple[DictId, DataPaths] | None:
        """Return the dict to whose data an object at `path` belongs, and the paths of that data; None if it is none."""
        start = len(self.prefix) + 1
        found = re.compile(_DATA).fullmatch(path, start)
        if found is None or not path.startswith(f"{self.prefix}/"):
            return None
        root, environment, name, ulid, folder, segment = found.groups()
        if not is_object_name(segment) or {environment, name} & {".", ".."} or not segment.startswith(folder or ""):
            return None
        return DictId(ulid, environment, name), DataPaths(path[:start] + root, len(folder or ""))

    def parse_data_root(self, path: str) -> tuple[DictId, DataPaths] | None:
        """Return the dict whose data is in the folder `path`, and the paths of that data; None if it is none."""
        return self.parse_data_path(f"{path}locks/{'0' * 32}")

    def dict_of_path(self, path: str) -> tuple[str | None, str | None]:
        """Return the name and environment of the dict that an object or a prefix belongs to; None where it has none."""
        start = len(self.prefix) + 1
        found = re.compile(_OF_NAMED_DICT).match(path, start) if path.startswith(f"{self.prefix}/") else None
        return (None, None) if found is None else (found[2] or found[4], found[1] or found[3])

    def scratch(self, ulid: str) -> str:
        return f"{self.prefix}/sweep-1d/probe/{ulid}"


class DataPaths(Record):
    """The paths of one dict's data. `fanout` is that of its manifest."""

    root: str
    fanout: int = 0

    @property
    def entries(self) -> str:
        return f"{self.root}entries/"

    def entry(self, object_name: str) -> str:
        """Return the path of the entry with this object name."""
        folder = f"{object_name[: self.fanout]}/" if self.fanout else ""
        return f"{self.entries}{folder}{object_name}"

    def object_name(self, path: str) -> str:
        """Return the object name of an entry's path, or what follows `entries` if it is not the path of an entry."""
        relative = path[len(self.root) + len("entries/") :]
        if not self.fanout:
            return relative
        folder, _, name = relative.partition("/")
        return name if name and folder == name[: self.fanout] else relative

    @property
    def locks(self) -> str:
        return f"{self.root}locks/"
