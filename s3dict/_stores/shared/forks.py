"""What a forked child must not go on with: its parent's threads do not exist there, and its connections are shared."""

from __future__ import annotations

import os

from ...errors import InvalidError


def check_process(pid: int) -> None:
    """Raise InvalidError unless this is the process of that id."""
    if os.getpid() != pid:
        raise InvalidError(
            "This call was begun in the parent process, before it forked: its threads and connections do not exist "
            "here. Make the call in the child"
        )
