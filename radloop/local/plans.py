"""The Plans port on files of a home, and the keys of those who sign.

pccp.yaml                    the change control plan
pccp.signatures.json         signatures over its bytes
keys/signers.json            whose signatures count: id, role, public key
keys/signers/<id>.pem        the private key of a signer who keeps it here; readable by its owner alone
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from radloop.core.errors import Conflict, Denied, InvalidInput, NotFound
from radloop.core.ports import PlanSignature, PlanSigner
from radloop.registry.plan import sha256_of
from radloop.registry.signatures import PrivateKey, plan_message, public_key_of
from radloop.registry.signing import admit, read_signatures, read_signers

PLAN_FILE = "pccp.yaml"
SIGNATURES_FILE = "pccp.signatures.json"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_OTHERS = 0o077


class FilePlans:
    """The Plans port on the home `root`; it holds nothing, so what is changed in the files counts at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._signers = root / "keys" / "signers.json"

    def text(self) -> bytes | None:
        """See `Plans.text`."""
        return _read(self._root / PLAN_FILE)

    def signers(self) -> tuple[PlanSigner, ...]:
        """See `Plans.signers`.

        Raises:
            Corrupt: The file of signers cannot be read as one.
        """
        return read_signers(_read(self._signers), self._signers.name)

    def signatures(self) -> tuple[PlanSignature, ...]:
        """See `Plans.signatures`.

        Raises:
            Corrupt: The file of signatures cannot be read as one.
        """
        return read_signatures(_read(self._root / SIGNATURES_FILE), SIGNATURES_FILE)

    def add(self, signature: PlanSignature) -> None:
        """See `Plans.add`.

        Raises:
            NotFound: There is no plan with that SHA-256, which may mean that it was changed meanwhile.
            Denied: It was not made by a signer known here, in this role, over this plan.
        """
        with _alone(self._root):
            admit(signature, self.text(), self.signers())
            kept = [each for each in self.signatures() if each.signer != signature.signer]
            document = {"signatures": [asdict(each) for each in (*kept, signature)]}
            _write(self._root / SIGNATURES_FILE, _json(document))

    def register(self, signer: PlanSigner) -> None:
        """Let the signatures of `signer` count from now on.

        Raises:
            InvalidInput: The id or role is no word.
            Conflict: The id has another key or role already, or the key belongs to another id.
        """
        if not _ID.fullmatch(signer.id) or not _ID.fullmatch(signer.role):
            raise InvalidInput("the id and role of a signer are words of letters, digits and . _ : -")
        with _alone(self._root):
            known = self.signers()
            if signer in known:
                return
            if any(signer.id == each.id for each in known):
                raise Conflict(f"{signer.id} has a key or role already; take another id")
            if any(signer.public_key == each.public_key for each in known):
                raise Conflict("the key belongs to another signer; one person, one key")
            _write(self._signers, _json({"signers": [asdict(each) for each in (*known, signer)]}))

    def revoke(self, signer: str) -> PlanSigner:
        """Let the signatures of `signer` count no more, those given before among them.

        Raises:
            NotFound: No signer of that id has a key here.
        """
        with _alone(self._root):
            known = self.signers()
            found = next((each for each in known if each.id == signer), None)
            if found is None:
                raise NotFound(f"no signer {signer} has a key here; radloop pccp check tells who signed")
            _write(self._signers, _json({"signers": [asdict(each) for each in known if each != found]}))
        return found

    def key_file(self, signer: str) -> Path:
        """Where the private key of a signer lies who keeps it in the home.

        Raises:
            InvalidInput: The id is no word.
        """
        if not _ID.fullmatch(signer):
            raise InvalidInput("the id of a signer is a word of letters, digits and . _ : -")
        return self._root / "keys" / "signers" / f"{signer}.pem"

    def generate(self, signer: str, role: str, *, place: Path | None = None, password: bytes | None = None) -> Path:
        """Make a key pair for a signer: the private key in a file, the public one registered.

        Args:
            signer: Opaque.
            role: In which they sign.
            place: Where the private key goes; None for the home's own folder of keys.
            password: Seals the private key; None leaves it to the permissions of the file.

        Raises:
            Conflict: There is a file or a signer of that name.
        """
        path = place or self.key_file(signer)
        if path.exists():
            raise Conflict(f"{path.name} is there already; a key is never written over")
        key = PrivateKey.generate()
        self.register(PlanSigner(signer, role, key.public_key))
        _write(path, key.pem(password))
        return path

    def replace_text(self, text: bytes) -> None:
        """Write the plan; signatures over other bytes are void from now on."""
        with _alone(self._root):
            _write(self._root / PLAN_FILE, text)


def sign_plan(text: bytes, key: PrivateKey, *, signer: str, role: str, at: str) -> PlanSignature:
    """A signature over the plan `text`."""
    signature = PlanSignature(sha256_of(text), signer, role, "", at)
    return replace(signature, signature=key.sign(plan_message(text, signer=signer, role=role)).hex())


def read_private_key(path: Path, password: bytes | None = None) -> PrivateKey:
    """The key pair in a file.

    Raises:
        NotFound: There is no such file.
        Denied: Others than its owner may read it, and no password seals it.
        InvalidInput: It holds no Ed25519 key, or the password is missing or wrong.
    """
    data = _read(path)
    if data is None:
        raise NotFound(f"there is no key file {path.name}; radloop pccp keygen makes one")
    if password is None and path.stat().st_mode & _OTHERS:
        raise Denied(f"{path.name} may be read by others than its owner; chmod 600 it")
    return PrivateKey.from_pem(data, password)


def read_public_key(path: Path) -> str:
    """The public key in a file, PEM or hexadecimal.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It holds no Ed25519 public key.
    """
    data = _read(path)
    if data is None:
        raise NotFound(f"there is no key file {path.name}")
    return public_key_of(data)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, for its owner alone, and on the disk on return."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Be the only one of all processes that changes plan, signers or signatures."""
    (root / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(root / "keys" / "signers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
