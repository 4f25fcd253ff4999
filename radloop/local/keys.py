"""The key-encryption key of a home: 32 random bytes in a file only its owner may read. And the owner's token."""

import os
import secrets
import stat
from pathlib import Path

from radloop.core.errors import Corrupt, Denied
from radloop.security.sealing import KEY_BYTES, Keyring


def open_keyring(path: Path) -> Keyring:
    """The keyring at `path`, made on first use.

    Raises:
        Denied: Others than the owner may read the file.
        Corrupt: The file does not hold a key.
    """
    if not path.exists():
        _create(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Denied(f"{path.name} may be read by others than its owner; chmod 600 it")
    kek = path.read_bytes()
    if len(kek) != KEY_BYTES:
        raise Corrupt(f"{path.name} holds {len(kek)} bytes, expected {KEY_BYTES}")
    return Keyring(kek)


def renew_token(path: Path) -> str:
    """A fresh bearer token, written to `path` for its owner alone, in place of the one before."""
    token = f"rlo_{secrets.token_urlsafe(32)}"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    draft.replace(path)
    return token


def _create(path: Path) -> None:
    """Write a fresh key; linking it into place keeps whichever of two makers came first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
