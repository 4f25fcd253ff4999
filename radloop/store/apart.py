"""Writes that belong to no one change: each is right by itself, so a store may take them in as many as it likes."""

from collections.abc import Sequence

from radloop.core.errors import TooLarge
from radloop.core.ports import Adjust, Change, Delete, Put, Records, Stands


def commit_apart(
    records: Records, writes: Sequence[Put | Adjust | Delete], *, while_stands: Sequence[Stands] = ()
) -> None:
    """Make writes, in one change where that fits and in more, one after the other, where it does not.

    Dying in between leaves the first of them made. So this is for writes that say nothing of each other and may be made
    again.

    Args:
        records: Where.
        writes: What.
        while_stands: What must be there in each change.

    Raises:
        NotFound: It is not.
        TooLarge: One of them alone is more than a change holds.
    """
    if not writes:
        return
    try:
        records.commit(Change([*while_stands, *writes]))
    except TooLarge:
        if len(writes) == 1:
            raise
        half = len(writes) // 2
        commit_apart(records, writes[:half], while_stands=while_stands)
        commit_apart(records, writes[half:], while_stands=while_stands)
