"""A home: the folder an installation lives in, owned by one process at a time."""

import fcntl
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from radloop.core.errors import InvalidInput, Unavailable
from radloop.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one installation lies."""

    root: Path

    @property
    def objects(self) -> Path:
        """Root of the Blobs port."""
        return self.root / "objects"

    @property
    def index(self) -> Path:
        """The encrypted SQLite file."""
        return self.root / "index.sqlite"

    @property
    def kek(self) -> Path:
        """The key-encryption key."""
        return self.root / "keys" / "kek"

    @property
    def keys(self) -> Path:
        """The folder of keys and certificates."""
        return self.root / "keys"

    @property
    def authority(self) -> Path:
        """The certificate that clients of this home's server trust."""
        return self.keys / "ca.pem"

    @property
    def owner_token(self) -> Path:
        """The bearer token by which commands of this home's owner reach its server."""
        return self.keys / "owner-token"

    @property
    def scratch(self) -> Path:
        """Private folders of running jobs."""
        return self.root / "scratch"

    @property
    def kept(self) -> Path:
        """Frames as they were last asked for in another form: sealed, and never more than can be made again."""
        return self.root / "kept"

    @property
    def mlflow(self) -> Path:
        """What MLflow shows: figures and ids, no patient's data."""
        return self.root / "mlflow"

    @property
    def logs(self) -> Path:
        """Log lines by group and day, sealed."""
        return self.root / "logs"

    @property
    def shared(self) -> Path:
        """What the door processes of one server share until it ends."""
        return self.root / "shared"

    @property
    def inbox(self) -> Path:
        """Files put here are ingested."""
        return self.objects / "training-data" / "upload"

    def settings(self) -> Settings:
        """The home's settings.

        Raises:
            InvalidInput: `settings.toml` names a setting that does not exist, or one of the wrong kind.
        """
        path = self.root / "settings.toml"
        if not path.exists():
            return Settings()
        try:
            return read_settings(tomllib.loads(path.read_text()))
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"settings.toml is not TOML: {error}") from None

    def server(self) -> str | None:
        """Address of the server that holds this home, or None when nobody does."""
        if not (self.root / "lock").exists():
            return None
        try:
            with self.owned():
                return None
        except Unavailable:
            try:
                return str(orjson.loads((self.root / "server.json").read_bytes())["url"])
            except (FileNotFoundError, orjson.JSONDecodeError, KeyError):
                return None

    def announce(self, url: str, *, dimse_port: int | None = None) -> None:
        """Write down where the server of this home listens, for HTTP and for DIMSE."""
        draft = self.root / ".server.json"
        draft.write_bytes(orjson.dumps({"url": url, "pid": os.getpid(), "dimse_port": dimse_port}))
        draft.replace(self.root / "server.json")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the home; the kernel gives it back when this process ends, however it ends.

        Raises:
            Unavailable: Another process owns it.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Unavailable(f"{self.root} is in use by another radloop; talk to that, or stop it") from None
        try:
            yield
        finally:
            os.close(descriptor)


def read_settings(values: dict[str, Any]) -> Settings:
    """Settings from plain values, each checked against the kind of its default.

    Raises:
        InvalidInput: A setting does not exist or is of the wrong kind.
    """
    known = {field.name for field in fields(Settings)}
    defaults = Settings()
    checked: dict[str, Any] = {}
    for name, value in _renamed(values).items():
        if name not in known:
            raise InvalidInput(f"there is no setting {name}; there are {', '.join(sorted(known))}")
        checked[name] = _setting(name, value, getattr(defaults, name))
    _require_sense(checked)
    return Settings(**checked)


_RELEASES = ("plan", "automatic", "manual")


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Settings under the names of today; `approve_automatically` of before is one of two values of `release`."""
    automatically = values.get("approve_automatically")
    if not isinstance(automatically, bool) or "release" in values:
        return values
    kept = {name: value for name, value in values.items() if name != "approve_automatically"}
    return {**kept, "release": "automatic" if automatically else "manual"}


def _require_sense(checked: dict[str, Any]) -> None:
    """Go on only with values that mean something."""
    if checked.get("release", "plan") not in _RELEASES:
        raise InvalidInput(f"setting release must be one of {', '.join(_RELEASES)}")
    if checked.get("approvers", 1) < 1:
        raise InvalidInput("setting approvers must be at least 1")
    lasting = (checked.get("incident_hours", 1.0), checked.get("incident_days", 1.0))
    limits = (checked.get("incident_patients", 0), checked.get("isolate_patients", 0))
    if min(lasting) <= 0 or min(limits) < 0:
        raise InvalidInput("incident_hours and incident_days must be above 0, the limits of patients at least 0")


def _setting(name: str, value: Any, default: Any) -> Any:
    """A value of the kind of its default."""
    if isinstance(default, Mapping) and isinstance(value, dict):
        kind = float if name == "throttle" else str
        return {str(key): kind(entry) for key, entry in value.items()}
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    if isinstance(default, str) and isinstance(value, str):
        return value
    if (
        isinstance(default, bool) == isinstance(value, bool)
        and isinstance(default, int | float)
        and isinstance(value, int | float)
    ):
        return type(default)(value)
    raise InvalidInput(
        f"setting {name} must be a {'list of text' if isinstance(default, tuple) else type(default).__name__}"
    )
