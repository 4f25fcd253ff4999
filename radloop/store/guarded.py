"""Image sets as one principal may see them: every way to look at one asks the policy and tells the audit.

Doors are given this instead of the store, so that none of them can forget either. A patient out of scope is answered
in the very words of what does not exist.
"""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radloop.core.errors import NotFound
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.core.ports import Audit, AuditEntry, Policy
from radloop.store.images import ImageStore
from radloop.store.instances import StoredInstance
from radloop.store.opened import FrameAddress, Glance
from radloop.store.readings import Reading
from radloop.store.studies import Study

_READ, _EXPORT, _WRITE, _SEARCH = "image.read", "image.export", "image.write", "image.search"


class GuardedImages:
    """The store, on behalf of one principal."""

    def __init__(self, store: ImageStore, policy: Policy, audit: Audit, principal: Principal) -> None:
        self._store = store
        self._policy = policy
        self._audit = audit
        self.principal = principal

    @property
    def patients(self) -> frozenset[str] | None:
        """The only patients this principal may know of; None for all. What searches must be narrowed to."""
        return self.principal.patients

    def may_search(self) -> None:
        """Go on only where lists and searches are allowed, and count the query.

        Raises:
            Denied: No role allows it.
        """
        self._policy.demand(self.principal, _SEARCH)
        self._audit.count(self.principal, "search")

    def get(self, identity: str, action: str = _READ) -> ImageSet:
        """See `ImageStore.get`; `action` is what it is wanted for.

        Raises:
            NotFound: There is no such image set, or it is of a patient out of scope.
            Denied: No role allows it.
        """
        self._policy.demand(self.principal, action)
        return self._open(identity, action)

    def look(self, identity: str) -> ImageSet:
        """One image set that is about to be shown: as `get`, and audited as a reading."""
        image_set = self.get(identity)
        self._audit.read(self.principal, identity)
        return image_set

    def glance(self, identity: str, index: int) -> Glance | None:
        """See `ImageStore.glance`; None too where this principal may not look. Who shows it must ask `looks_again`."""
        return self._allowed(self._store.glance(identity, index))

    def glance_at(self, series: tuple[str, str, str], sop_uid: str, number: int) -> Glance | None:
        """See `ImageStore.glance_at`; for the rest as `glance`."""
        return self._allowed(self._store.glance_at(series, sop_uid, number))

    def looks_again(self, identity: str) -> bool:
        """Audit a further reading without waiting; False where it is the first in an hour, which `look` must note."""
        return self._audit.read_again(self.principal, identity)

    def reading(self, identity: str) -> Reading:
        """See `ImageStore.reading`; allowed and audited as one reading, however many frames are read."""
        self.look(identity)
        return self._store.reading(identity)

    def reading_on(self, identity: str) -> Reading:
        """See `ImageStore.reading`; for who has just asked `look`, so that it is one reading still."""
        self.get(identity)
        return self._store.reading(identity)

    def reading_at_hand(self, identity: str) -> Reading | None:
        """See `ImageStore.reading_at_hand`; None too where this principal may not look, or `reading` must note it."""
        found = self._store.reading_at_hand(identity)
        if found is None or not self._policy.allows(self.principal, _READ, found.image_set.patient_id):
            return None
        return found if self.looks_again(identity) else None

    def instances(self, identity: str) -> list[StoredInstance]:
        """See `ImageStore.instances`."""
        self.get(identity)
        return self._store.instances(identity)

    def frames(self, identity: str) -> tuple[FrameAddress, ...]:
        """See `ImageStore.frames`."""
        self.get(identity)
        return self._store.frames(identity)

    def frame(self, identity: str, index: int) -> tuple[bytes, str]:
        """See `ImageStore.frame`."""
        self.look(identity)
        return self._store.frame(identity, index)

    def frame_as(self, identity: str, index: int, syntax: str) -> bytes:
        """See `ImageStore.frame_as`."""
        self.look(identity)
        return self._store.frame_as(identity, index, syntax)

    def preview(self, identity: str, index: int) -> bytes:
        """See `ImageStore.preview`."""
        self.look(identity)
        return self._store.preview(identity, index)

    def pixels(self, identity: str, index: int) -> NDArray[np.generic]:
        """See `ImageStore.pixels`."""
        self.look(identity)
        return self._store.pixels(identity, index)

    def thumbnail(self, identity: str) -> bytes:
        """See `ImageStore.thumbnail`; audited as part of a list, not as a reading."""
        self.get(identity)
        self._audit.count(self.principal, "search.thumbnail", identity)
        return self._store.thumbnail(identity)

    def volume(self, identity: str) -> NDArray[np.generic]:
        """See `ImageStore.volume`."""
        self.look(identity)
        return self._store.volume(identity)

    def export(self, instance: StoredInstance, action: str = _EXPORT) -> bytes:
        """See `ImageStore.export`; `action` is what the file is wanted for, audited as a reading once an hour."""
        self.get(instance.image_set, action)
        self._audit.read(self.principal, instance.image_set)
        return self._store.export(instance)

    def document(self, instance: StoredInstance, bulk_uri: Callable[[str], str] | None = None) -> dict[str, Any]:
        """See `ImageStore.document`."""
        self.look(instance.image_set)
        return self._store.document(instance, bulk_uri)

    def documents(self, identity: str, address: Callable[[str], str]) -> list[bytes]:
        """See `ImageStore.documents`; for who has just asked `look`, so that it is one reading still."""
        self.get(identity)
        return self._store.documents(identity, address)

    def headers(self, identity: str, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
        """See `ImageStore.headers`; for results of a search, and counted as such: nobody has opened the image set."""
        self.get(identity)
        self._audit.count(self.principal, "search.header", identity)
        return self._store.headers(identity, wanted)

    def complete(self, identity: str) -> ImageSet:
        """See `ImageStore.complete`."""
        self.get(identity, _WRITE)
        return self._store.complete(identity, by=self.principal)

    def study(self, key: str, action: str = _READ) -> Study:
        """See `Studies.get`."""
        self._policy.demand(self.principal, action)
        study = self._store.studies.get(key)
        if not self._policy.allows(self.principal, action, study.patient_id):
            raise NotFound(f"no study {key}")
        return study

    def complete_study(self, key: str) -> Study:
        """See `ImageStore.complete_study`."""
        self.study(key, _WRITE)
        return self._store.complete_study(key, by=self.principal)

    def exported(self, identity: str) -> list[StoredInstance]:
        """The instances of an image set that is about to leave as a whole, which is audited by itself."""
        self.get(identity, _EXPORT)
        self._audit.record(AuditEntry(self.principal.id, "export", identity))
        return self._store.instances(identity)

    def _allowed(self, glance: Glance | None) -> Glance | None:
        if glance is None or not self._policy.allows(self.principal, _READ, glance.image_set.patient_id):
            return None
        return glance

    def _open(self, identity: str, action: str) -> ImageSet:
        image_set = self._store.get(identity)
        if not self._policy.allows(self.principal, action, image_set.patient_id):
            raise NotFound(f"no image set {identity}")
        return image_set
