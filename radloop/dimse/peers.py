"""Who may associate with us, and where the known ones listen."""

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal

_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
_PEER = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]\s]+):(?P<port>\d{1,5})")
_LAST_PORT = 65535
_ROLES = frozenset({"reader"})
_REMEMBERED_S = 60.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A known application entity: its title, and where it listens for what we send."""

    title: str
    host: str
    port: int


def title_of(text: str) -> str:
    """An application entity title.

    Raises:
        InvalidInput: Not 1 to 16 printable ASCII characters without a backslash (PS3.5 §6.2, AE).
    """
    title = text.strip(" ")
    if not _TITLE.fullmatch(title):
        raise InvalidInput("an AE title is 1 to 16 printable ASCII characters without a backslash")
    return title


def peer_of(text: str) -> Peer:
    """The peer that AET@HOST:PORT names.

    Raises:
        InvalidInput: It is written in another way.

    >>> peer_of("STORESCP@127.0.0.1:11113")
    Peer(title='STORESCP', host='127.0.0.1', port=11113)
    """
    found = _PEER.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= _LAST_PORT:
        raise InvalidInput(f"a DIMSE peer is written AET@HOST:PORT, such as CT1@10.0.0.5:104, and not {text!r}")
    return Peer(title_of(found["title"]), found["host"].strip("[]"), int(found["port"]))


def principal_of(title: str) -> Principal:
    """The principal behind a calling AE title that was let in."""
    return Principal(id=f"ae:{title}", roles=_ROLES)


class Peers:
    """The known peers.

    Args:
        peers: Whom we know.
        is_open: Whoever calls from this machine itself is let in, whatever title it gives.
    """

    def __init__(self, peers: Iterable[Peer], *, is_open: bool = False) -> None:
        self._peers = tuple(peers)
        self._is_open = is_open
        self._addresses: dict[str, tuple[float, frozenset[str]]] = {}

    def caller(self, title: str, address: str) -> Principal | None:
        """The principal that calls under `title` from `address`; None for a stranger.

        Title and address must belong to one and the same peer: neither proves anything alone, and DIMSE without TLS
        has no more to offer.
        """
        title = title.strip(" ")
        if self._is_open and _is_loopback(address) and _TITLE.fullmatch(title):
            return principal_of(title)
        known = any(peer.title == title and _plain(address) in self._hosts(peer.host) for peer in self._peers)
        return principal_of(title) if known else None

    def is_known_address(self, address: str) -> bool:
        """Whether somebody we know may call from there."""
        if self._is_open and _is_loopback(address):
            return True
        return any(_plain(address) in self._hosts(peer.host) for peer in self._peers)

    def destination(self, title: str) -> Peer | None:
        """Where to send what is to be moved to `title`."""
        return next((peer for peer in self._peers if peer.title == title.strip(" ")), None)

    def _hosts(self, host: str) -> frozenset[str]:
        """Addresses of a host; names are looked up once a minute, and keep what they had where that fails."""
        until, found = self._addresses.get(host, (0.0, frozenset[str]()))
        if time.monotonic() >= until:
            with contextlib.suppress(OSError, UnicodeError):
                found = frozenset(_plain(str(entry[4][0])) for entry in socket.getaddrinfo(host, None))
            self._addresses[host] = (time.monotonic() + _REMEMBERED_S, found)
        return found


def _plain(address: str) -> str:
    """An address in one spelling; IPv4 inside IPv6 is IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(_plain(address)).is_loopback
    except ValueError:
        return False
