"""How far an import has come, in a file beside the one that is imported: it outlives a kill and a loss of power."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import InvalidError

__all__ = ["Checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All entries before the byte at ``offset`` of that very file are in that very dict."""

    dict_id: str
    form: str
    size: int
    modified_ns: int
    offset: int = 0

    @classmethod
    def at_start(cls, file: Path, dict_id: str, form: str) -> Checkpoint:
        status = file.stat()
        return cls(dict_id, form, status.st_size, status.st_mtime_ns)

    def at_offset(self, offset: int) -> Checkpoint:
        return replace(self, offset=offset)

    def loaded(self, file: Path) -> Checkpoint:
        """Where an earlier import of the same file into the same dict came to; itself if there was none.

        Raises:
            InvalidError: what was imported then was another file, or into another dict.
        """
        beside = _checkpoint_path(file)
        try:
            saved = Checkpoint(**json.loads(beside.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return self
        except (ValueError, TypeError) as error:
            raise InvalidError(f"{beside} does not say how far an import came: delete it to begin again") from error
        if replace(saved, offset=0) != self:
            raise InvalidError(f"{beside} is of another dict, or {file} has changed since: delete it to begin again")
        return saved

    def save(self, file: Path) -> None:
        """Replaces the last one. Where that is not possible, resuming begins further back, which does no harm."""
        beside = _checkpoint_path(file)
        fresh = beside.with_name(f"{beside.name}.new")
        with suppress(OSError):
            with fresh.open("w", encoding="utf-8") as sink:
                json.dump(asdict(self), sink)
                sink.flush()
                os.fsync(sink.fileno())
            fresh.replace(beside)

    @staticmethod
    def remove(file: Path) -> None:
        with suppress(OSError):
            _checkpoint_path(file).unlink(missing_ok=True)


def _checkpoint_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.progress")
