"""All checks, in the order they run: what may kill a server comes last."""

from radloop.conform.charsets import CHARSETS
from radloop.conform.frames import COMPRESSED, FRAMES, PIXELS
from radloop.conform.http import CACHING, NEGOTIATION, RANGES
from radloop.conform.instances import INSTANCES
from radloop.conform.metadata import BULK, METADATA
from radloop.conform.model import Check, Group
from radloop.conform.qido import QIDO
from radloop.conform.rendered import RENDERED
from radloop.conform.robustness import FATAL, ROBUSTNESS
from radloop.conform.stow import STOW

GROUPS: tuple[Group, ...] = (
    STOW,
    QIDO,
    METADATA,
    BULK,
    INSTANCES,
    FRAMES,
    PIXELS,
    RENDERED,
    CHARSETS,
    NEGOTIATION,
    CACHING,
    RANGES,
    COMPRESSED,
    ROBUSTNESS,
    FATAL,
)

CHECKS: tuple[Check, ...] = tuple(check for group in GROUPS for check in group.checks)


def chosen(names: tuple[str, ...]) -> tuple[Check, ...]:
    """The checks of these groups and ids, all where none is named.

    Raises:
        KeyError: A name is neither a group nor a check.
    """
    known = {group.id for group in GROUPS} | {check.id for check in CHECKS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return tuple(check for check in CHECKS if not names or check.group in names or check.id in names)
