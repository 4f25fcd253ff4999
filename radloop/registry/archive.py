"""Files that leave the house in one signed archive, which anybody can check with a public key and nothing else.

A zip archive whose bytes follow from its contents: files stored and not packed, without dates, sorted behind
`manifest.json`, which tells the SHA-256 of each, and `manifest.sig`, the installation's Ed25519 signature over the
bytes of the manifest. Checking it makes the archive anew and compares, so that not one byte can differ unseen, also
none between the files.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from radloop.core.errors import InvalidInput
from radloop.core.ports import Signer
from radloop.registry.signatures import fingerprint, is_signed

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"

_DATE: Final = (1980, 1, 1, 0, 0, 0)
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An archive that was looked at byte for byte.

    Attributes:
        public_key: By which the manifest says that it is signed.
        checks: Of the archive, its format, its signature and its files.
    """

    files: Files
    manifest: Mapping[str, Any]
    public_key: str
    checks: tuple[Check, ...]


BROKEN: Final = Check("archive", passed=False, sentence="The file is not a bundle of evidence, or it is damaged.")


def sealed(about: Mapping[str, Any], files: Files, signer: Signer) -> bytes:
    """Files in one signed archive; the same files and the same key give the same bytes.

    Args:
        about: What the manifest tells besides, `format` among it.
        files: Content by name, names with `/` between folders.
        signer: Vouches for it.
    """
    manifest = {
        **about,
        "public_key": signer.public_key,
        "files": {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in sorted(files.items())},
    }
    text = written(manifest)
    return _archive({MANIFEST: text, SIGNATURE: signer.sign(text).hex().encode(), **files})


def written(document: Any) -> bytes:
    """A document as it stands in an archive: JSON for people, always the same for the same content."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def opened(data: bytes, form: str, public_key: str | None = None) -> Opened:
    """Look at every byte of an archive.

    Args:
        data: The file.
        form: The format that it should have.
        public_key: Of the installation, hexadecimal, known from elsewhere; None to use the one in the file, which shows
            that the file is whole and not who made it.

    Raises:
        InvalidInput: It is no such archive, or its manifest cannot be read.
    """
    files = _unpacked(data)
    try:
        manifest: dict[str, Any] = json.loads(files[MANIFEST])
        named, listed = str(manifest["public_key"]), dict(manifest["files"])
        is_known = manifest["format"] == form
    except (ValueError, KeyError, TypeError):
        raise InvalidInput("the archive has no manifest, or one that cannot be read") from None
    checks = (
        checked("archive", _archive(files) == data, "The archive is made of its files and nothing else.",
             "The archive holds bytes that belong to none of its files."),
        checked("format", is_known, f"The format is {form}.", f"The format is not {form}."),
        _signature(files, named if public_key is None else public_key, named),
        _contents(files, listed),
    )  # fmt: skip
    return Opened(files, manifest, named, checks)


def checked(name: str, passed: bool, good: str, bad: str) -> Check:
    """A check, with the one sentence or the other."""
    return Check(name, passed=passed, sentence=good if passed else bad)


def shown(key: str) -> str:
    """A public key as people compare it."""
    try:
        return fingerprint(key)
    except ValueError:
        return "a key that is none"


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _archive(files: Files) -> bytes:
    order = [MANIFEST, SIGNATURE, *sorted(files.keys() - {MANIFEST, SIGNATURE})]
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in order:
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system = 3  # that of who makes it would differ
            member.external_attr = 0o644 << 16
            archive.writestr(member, files[name])
    return sink.getvalue()


def _unpacked(data: bytes) -> dict[str, bytes]:
    """The files of an archive that holds each once, unpacked.

    Raises:
        InvalidInput: It is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            is_plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            names = {member.filename for member in members}
            if not is_plain or len(names) != len(members):
                raise InvalidInput("the archive is packed, or holds a name twice")
            return {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        raise InvalidInput("this is no archive, or it is damaged") from None


def _signature(files: Files, key: str, named: str) -> Check:
    if key != named:
        sentence = f"The file is signed by {shown(named)}, and you trust {shown(key)}."
        return Check("signature", passed=False, sentence=sentence)
    holds = is_signed(key, files[MANIFEST], files.get(SIGNATURE, b"").decode("ascii", "replace"))
    good = f"The manifest is signed by the key {shown(key)}."
    return checked("signature", holds, good, "The signature of the manifest does not hold.")


def _contents(files: Files, listed: Mapping[str, Any]) -> Check:
    """Whether the files are those of the manifest, each as it was."""
    there = files.keys() - {MANIFEST, SIGNATURE}
    wrong = sorted(
        name
        for name in there | listed.keys()
        if name not in files or name not in listed or sha256(files[name]) != _field(listed[name], "sha256")
    )
    good = f"All {len(there)} files are as the manifest tells."
    return checked("files", not wrong, good, f"Not as the manifest tells: {', '.join(wrong)}.")


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
