"""The chain of the audit: every entry carries the hash of the one before and of itself.

Whoever changes, removes or puts in an entry breaks the chain from there on; whoever cuts the end off is found by the
head that an auditor kept.
"""

import hashlib
from typing import Any

import orjson

GENESIS = "0" * 64
"""What the first entry follows."""


def link(before: str, fields: tuple[Any, ...]) -> str:
    """The hash of an entry that follows the one whose hash is `before`.

    >>> link(GENESIS, (1, "2026-01-02T00:00:00+00:00", "ada", "read", "i1", "success", 1))[:16]
    '37ee1c7fb829ec8b'
    """
    return hashlib.sha256(before.encode() + orjson.dumps(fields)).hexdigest()
