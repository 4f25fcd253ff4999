"""What every HTTP door stands on."""

from dataclasses import dataclass, field
from pathlib import Path

from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.monitoring.metrics import Meter
from radloop.security.identities import Identities
from radloop.serving.champion import Champion
from radloop.store.guarded import GuardedImages
from radloop.store.images import ImageStore


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
        identities: Who there is; None where nobody can be known.
        is_open: Whether every caller is the owner, which only a loopback address allows.
    """

    platform: Platform
    images: ImageStore
    champion: Champion
    meter: Meter | None = None
    static: Path | None = None
    hosts: frozenset[str] = field(default_factory=frozenset)
    identities: Identities | None = None
    is_open: bool = False

    def images_of(self, principal: Principal) -> GuardedImages:
        """The image sets as `principal` may see them."""
        return GuardedImages(self.images, self.platform.policy, self.platform.audit, principal)
