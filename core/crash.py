"""Named crash points: where the fault tests end the process as if the power had gone.

Does nothing unless HEARTH_CRASH=<point>[:<n>] is given at the start, which only the tests do; then the n-th time that point is reached the process ends.
"""

import os
import sys

_armed: dict[str, int] = {}


def arm(value: str) -> None:
    """Sets the point from a text like `after_accept_commit:3`; "" disarms."""
    _armed.clear()
    if value:
        point, _, times = value.partition(":")
        _armed[point] = int(times or 1)


def crash(point: str) -> None:
    """Ends the process here, without any clean-up, if this point is armed and its turn has come."""
    if _armed and point in _armed:
        _armed[point] -= 1
        if not _armed[point]:
            sys.stderr.write(f"crash point {point}\n")
            sys.stderr.flush()
            os._exit(137)
