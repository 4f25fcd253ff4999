"""What every HTTP door stands on."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.monitoring.alarms import Alarm
from radloop.monitoring.dashboards import Dashboard
from radloop.monitoring.metrics import Meter
from radloop.security.identities import Identities
from radloop.security.links import Links
from radloop.security.sign_in import NativeApp, SignInPage
from radloop.serving.champion import Champion
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore
from radloop.streaming.standing import StandingLayers


class Notes(Protocol):
    """What all processes of the doors must know of each other from one request to the next."""

    def admit(self, signature: str, now: datetime, until: datetime) -> bool:
        """See `security.sigv4.Replays.admit`."""
        ...

    def take(self, name: str, rate: float) -> bool:
        """Take one call out of a bucket that fills at `rate` a second and holds one second's worth, at least one."""
        ...


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What is watched, and how it is drawn."""

    alarms: tuple[Alarm, ...] = ()
    dashboards: tuple[Dashboard, ...] = ()


@dataclass(frozen=True, slots=True)
class Doors:
    """What the doors open on.

    Attributes:
        platform: The ports.
        images: The store, for what `Platform.images` does not offer.
        champion: The model version in use.
        meter: Counts the traffic; None where nobody measures.
        static: The folder of the viewer's built files; None where there is none.
        hosts: Names this server answers to besides those of the loopback.
        notes: What this process must share with the others that serve the same home.
        identities: Who there is; None where nobody can be known.
        is_open: Whether every caller is the owner, which only a loopback address allows.
        links: Signs links; None where there are none.
        has_worker: Whether a worker beside this process predicts, so that this one need not load a model.
        monitoring: What is watched; nothing where nobody watches.
        layers: What viewers stream of image sets, written as files; None where nobody writes them.
        page: Where people sign in instead of here; None where a password of ours does.
        native_app: How programs sign in whoever runs them; None where they carry a credential of ours.
        site: Host of the site that a browser sees, where something before us asks us under another name.
        longest_body: Bytes of a request's body that get here at most; None where nothing before us sets a limit.
        longest_answer: Bytes of an answer's body that get out at most; None where nothing before us sets a limit.
    """

    platform: Platform
    images: ImageStore
    champion: Champion
    notes: Notes
    meter: Meter | None = None
    static: Path | None = None
    hosts: frozenset[str] = field(default_factory=frozenset)
    identities: Identities | None = None
    is_open: bool = False
    links: Links | None = None
    has_worker: bool = False
    monitoring: Monitoring = Monitoring()
    layers: StandingLayers | None = None
    longest_body: int | None = None
    longest_answer: int | None = None
    page: SignInPage | None = None
    native_app: NativeApp | None = None
    site: str | None = None

    def images_of(self, principal: Principal) -> GuardedImages:
        """The image sets as `principal` may see them."""
        return GuardedImages(self.images, self.platform.policy, self.platform.audit, principal)
