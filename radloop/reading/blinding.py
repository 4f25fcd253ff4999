"""Blinding: where several read, nobody is told what others or a model say of an image set before they have read it.

Whoever shows a read, a finding or a prediction asks here first. A case that waits for an adjudicator is open to
adjudicators and auditors; one that is settled is open to all who may see the image set.
"""

from dataclasses import dataclass

from radloop.core.errors import Blinded
from radloop.core.identity import Principal
from radloop.core.images import ImageSet, State
from radloop.core.ports import Policy, Records
from radloop.core.reads import Project, ReadingPolicy, project_of

ADJUDICATE, AUDIT = "image.adjudicate", "audit.read"


@dataclass(frozen=True, slots=True)
class Eyes:
    """Who looks, as far as it decides what they may be told.

    Attributes:
        reader: Opaque id; None for nobody known.
        sees_asked: Whether they adjudicate or audit.
    """

    reader: str | None = None
    sees_asked: bool = False

    @classmethod
    def of(cls, principal: Principal, policy: Policy) -> "Eyes":
        """The eyes of a principal."""
        return cls(principal.id, policy.allows(principal, ADJUDICATE) or policy.allows(principal, AUDIT))

    def are_shut(self, records: Records, image_set: ImageSet, project: Project | None = None) -> bool:
        """Whether nothing that others or a model say of the image set may be told.

        Args:
            records: Where it is kept how its data store is read.
            image_set: What is looked at.
            project: How its data store is read, where that is known already.
        """
        if image_set.state is not State.INGESTED:
            return False
        if self.has_read(image_set) or (self.sees_asked and image_set.asked is not None):
            return False
        known = project_of(records, image_set.datastore) if project is None else project
        return known.policy is not ReadingPolicy.SINGLE

    def has_read(self, image_set: ImageSet) -> bool:
        """Whether they have read it as it is now."""
        case = image_set.case
        return case is not None and self.reader is not None and case.by(self.reader, image_set.version) is not None


NOBODY = Eyes()
"""Somebody who may be told nothing that is blinded."""


def require_open(eyes: Eyes, records: Records, image_set: ImageSet) -> None:
    """Go on only where what others say may be told.

    Raises:
        Blinded: It may not, yet.
    """
    if eyes.are_shut(records, image_set):
        raise Blinded(f"image set {image_set.id} is told of only after one's own read")
