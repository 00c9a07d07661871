"""Noticing that a small model goes round in circles, which it would do until its last token."""

from collections.abc import Sequence

LONGEST_PERIOD = 48
TIMES = 4
LEAST_TOKENS = 32
CHECKED_EVERY = 8
"""Tokens between two looks: a look costs as much as comparing a few hundred numbers."""


def goes_in_circles(tokens: Sequence[int]) -> bool:
    """Whether the answer ends in the same piece again and again: at least 4 times, and at least 32 tokens in all.

    tokens: of the answer so far.   Pieces of up to 48 tokens are noticed. Counting rows of a table or code that only resembles itself is no circle.
    """
    for period in range(1, LONGEST_PERIOD + 1):
        length = period * max(TIMES, -(-LEAST_TOKENS // period))
        if length > len(tokens):
            continue
        tail = list(tokens[-length:])
        if tail[period:] == tail[:-period]:
            return True
    return False
