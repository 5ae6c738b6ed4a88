"""A search for secrets in all that a program prints, logs, stores or sends."""

from __future__ import annotations

import logging
import pickle
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import s3dict

__all__ = ["Evidence", "forms"]

_PACKAGE = str(Path(s3dict.__file__).parent)


def forms(secret: str) -> set[str]:
    """Return the encodings of a secret: plain, percent-encoded, in hex, and in Base64 at each offset."""
    data = secret.encode()
    shifted = [encode(b"\0" * shift + data) for shift in range(3) for encode in (b64encode, urlsafe_b64encode)]
    # The first and last characters depend on the neighbouring text.
    inner = {text.decode().rstrip("=")[4:-2] for text in shifted}
    return {secret, quote(secret, safe=""), repr(data)[2:-1], data.hex(), data.hex().upper()} | inner


class Evidence:
    """All output, each with its source."""

    def __init__(self) -> None:
        self._shown: list[tuple[str, str]] = []

    def add(self, where: str, shown: str | bytes) -> None:
        self._shown.append((where, shown if isinstance(shown, str) else shown.decode("latin-1")))

    def add_object(self, where: str, thing: object) -> None:
        self.add(f"{where}: repr", repr(thing))
        self.add(f"{where}: str", str(thing))

    def add_pickle(self, where: str, thing: object) -> None:
        self.add(f"{where}: pickle", pickle.dumps(thing))

    def add_error(self, where: str, error: BaseException, *, with_variables: bool = True) -> None:
        """Add the error in each form in which programs print or store it, with its causes.

        Collectors of errors add the local variables of all functions.
        """
        self.add_object(where, error)
        self.add_pickle(where, error)
        self.add(f"{where}: traceback", "".join(traceback.format_exception(error)))
        for link in _chain(error):
            self.add_object(f"{where}: behind it", link)
            self.add(f"{where}: attributes", repr(vars(link)))
            if with_variables:
                self.add(f"{where}: local variables", "\n".join(_local_variables(link)))

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Add all that is logged during the block, by any logger."""
        root, collector = logging.getLogger(), _Collector(self)
        talkative = [logging.getLogger(name) for name in ("boto3", "botocore", "aiobotocore", "urllib3", "asyncio")]
        levels = {logger: logger.level for logger in (root, *talkative)}
        for logger in levels:
            logger.setLevel(logging.DEBUG if logger is root else logging.WARNING)
        root.addHandler(collector)
        try:
            yield
        finally:
            root.removeHandler(collector)
            for logger, level in levels.items():
                logger.setLevel(level)

    def leaks(self, secrets: set[str]) -> list[str]:
        """Return the sources in which a secret was found."""
        everything = "\0".join(shown for _, shown in self._shown)
        found = [form for secret in secrets for form in forms(secret) if form in everything]
        return [where for where, shown in self._shown if any(form in shown for form in found)]

    def about(self, where: str) -> list[str]:
        return [shown for place, shown in self._shown if place.startswith(where)]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _local_variables(error: BaseException) -> Iterator[str]:
    """Return the variables of each function except those of the tests."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(_PACKAGE) or "site-packages" in frame.f_code.co_filename:
            for name, value in frame.f_locals.items():
                yield f"{name} = {value!r}"


class _Collector(logging.Handler):
    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self._evidence = evidence

    def emit(self, record: Any) -> None:
        if record.name.startswith("s3dict") or record.pathname.startswith(_PACKAGE):
            self._evidence.add("log", f"{self.format(record)} {record.__dict__}")
