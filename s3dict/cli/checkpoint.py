"""The progress of an import, in a file beside the imported one: it survives SIGKILL and a loss of power."""

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
    """All entries before the byte at ``offset`` of this version of the file are in this dict.

    ``last_dict`` is the id of the dict that they end in, where the file is a backup of several.
    """

    dict_id: str
    form: str
    size: int
    modified_ns: int
    offset: int = 0
    last_dict: str = ""

    @classmethod
    def at_start(cls, file: Path, dict_id: str, form: str) -> Checkpoint:
        status = file.stat()
        return cls(dict_id, form, status.st_size, status.st_mtime_ns)

    def at_offset(self, offset: int, last_dict: str = "") -> Checkpoint:
        return replace(self, offset=offset, last_dict=last_dict)

    def loaded(self, file: Path) -> Checkpoint:
        """Return the checkpoint of an earlier import of the same file into the same dict, or self if there is none.

        Raises:
            InvalidError: The earlier import was of another file, or into another dict.
        """
        path = _checkpoint_path(file)
        try:
            saved = Checkpoint(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return self
        except (ValueError, TypeError) as error:
            raise InvalidError(f"{path} is not a valid checkpoint: delete it to start over") from error
        if replace(saved, offset=0, last_dict="") != self:
            raise InvalidError(f"{path} belongs to another dict, or {file} has changed since: delete it to start over")
        return saved

    def save(self, file: Path) -> None:
        """Replace the previous checkpoint. If that fails, resuming starts further back, which is harmless."""
        path = _checkpoint_path(file)
        fresh = path.with_name(f"{path.name}.new")
        with suppress(OSError):
            with fresh.open("w", encoding="utf-8") as sink:
                json.dump(asdict(self), sink)
                sink.flush()
                os.fsync(sink.fileno())
            fresh.replace(path)

    @staticmethod
    def remove(file: Path) -> None:
        with suppress(OSError):
            _checkpoint_path(file).unlink(missing_ok=True)


def _checkpoint_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.progress")
