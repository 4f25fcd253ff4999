"""A case: what has been read of an image set so far, as far as it decides what happens next.

The reads themselves are records of their own and are never changed; a case is kept with the image set, so that one
write tells whether the next read settles it, and what that read is worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Vote:
    """What one reader's read says of one version of an image set, and that it counts: it was made unseen by others.

    Attributes:
        reader: Opaque id.
        confidence: A `core.images.Confidence`.
        read: Id of the read.
    """

    reader: str
    version: int
    present: bool
    confidence: str
    read: str


@dataclass(frozen=True, slots=True)
class Case:
    """What has been read of an image set so far.

    Attributes:
        votes: One a reader and version, in the order they came.
        posterior: Probability of present after them; None before the first.
        asked: Why an adjudicator is asked, a stable code; None where none is.
        asked_at: Since when, in seconds since 1970.
        asked_of: The version that is asked about.
    """

    votes: tuple[Vote, ...] = ()
    posterior: float | None = None
    asked: str | None = None
    asked_at: float | None = None
    asked_of: int = 0

    def of(self, version: int) -> tuple[Vote, ...]:
        """The votes on one version; older ones are of other images."""
        return tuple(vote for vote in self.votes if vote.version == version)

    def by(self, reader: str, version: int) -> Vote | None:
        """The vote of one reader on one version."""
        return next((vote for vote in self.of(version) if vote.reader == reader), None)

    def with_vote(self, vote: Vote) -> "Case":
        """The same with a vote, in the place of an earlier one of the same reader on the same version."""
        others = [each for each in self.votes if (each.reader, each.version) != (vote.reader, vote.version)]
        return replace(self, votes=(*others, vote))

    def plain(self) -> dict[str, Any]:
        """As a record holds it."""
        return {
            "votes": [[vote.reader, vote.version, vote.present, vote.confidence, vote.read] for vote in self.votes],
            "posterior": self.posterior,
            "asked": self.asked,
            "asked_at": self.asked_at,
            "asked_of": self.asked_of,
        }


def case_of(document: Mapping[str, Any] | None) -> Case | None:
    """The case a record holds, which is None where nobody has read, or before cases were kept."""
    if document is None:
        return None
    return Case(
        votes=tuple(Vote(*each) for each in document["votes"]),
        posterior=document["posterior"],
        asked=document["asked"],
        asked_at=document["asked_at"],
        asked_of=document["asked_of"],
    )


def differ(votes: tuple[Vote, ...]) -> bool:
    """Whether some say present and others absent."""
    return len({vote.present for vote in votes}) > 1
