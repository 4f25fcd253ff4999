"""Messages to people: Slack, e-mail, PagerDuty, webhooks and whatever else Apprise has an address for.

An address holds secrets, so it is never logged, never stored with a job and never on a command line. A message is sent
by a process of its own, which is ended when it takes too long and takes with it what the library needs of memory.
"""

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from radloop.core.errors import Unavailable

_LONGEST_S = 60.0
_SENT, _REFUSED, _UNKNOWN = 0, 3, 4
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told; ids and codes of ours, nothing of a patient."""

    title: str
    body: str


def target_of(address: str) -> str:
    """A name for an address that tells nothing of its secrets, and stays the same as long as the address does."""
    return hashlib.sha256(address.encode()).hexdigest()[:_DIGITS]


def service_of(address: str) -> str:
    """The kind of an address, such as `slack` or `mailto`."""
    return address.partition("://")[0] if "://" in address else "unknown"


def address_of(target: str, addresses: Iterable[str]) -> str | None:
    """The address of that name, if it still is one of `addresses`."""
    return next((each for each in addresses if target_of(each) == target), None)


def send(notice: Notice, address: str) -> None:
    """Send a message, once.

    Args:
        notice: What.
        address: Where to, as Apprise writes it.

    Raises:
        Unavailable: It was not taken, or the address is none that Apprise knows.
    """
    order = json.dumps({"title": notice.title, "body": notice.body, "address": address})
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "radloop.monitoring.notices"],
            input=order.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{service_of(address)} took longer than {_LONGEST_S:g} seconds") from None
    if ended.returncode == _UNKNOWN:
        raise Unavailable(f"an address of the setting notify is none that Apprise knows ({service_of(address)})")
    if ended.returncode != _SENT:
        raise Unavailable(f"{service_of(address)} did not take the message")


def main() -> int:
    """Send what stands on standard input; the exit status tells how that went, and nothing is printed."""
    import apprise  # noqa: PLC0415 — only the sending process pays for it

    logging.getLogger("apprise").addHandler(logging.NullHandler())
    order = json.loads(sys.stdin.buffer.read())
    sender = apprise.Apprise()
    if not sender.add(order["address"]):
        return _UNKNOWN
    is_sent = sender.notify(title=order["title"], body=order["body"], body_format="text")
    return _SENT if is_sent else _REFUSED


if __name__ == "__main__":
    sys.exit(main())
