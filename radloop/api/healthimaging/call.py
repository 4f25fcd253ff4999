"""One call of an operation: who calls, with what, on which installation."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from radloop.api.doors import Doors
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import Principal
from radloop.core.images import ImageSet
from radloop.store.copies import Copies
from radloop.store.datastores import ClientTokens, Datastores, resource_of
from radloop.store.guarded import GuardedImages
from radloop.store.imports import Imports
from radloop.store.metadata import Metadata, frame_id
from radloop.store.opened import FrameAddress
from radloop.store.revisions import Revisions

REGION, ACCOUNT = "us-east-1", "000000000000"
PAGE = 50

_PLACES = 100_000

Members = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """What the operations stand on; one for all calls, because it remembers where frames are.

    Attributes:
        doors: The installation.
        formats: Storage formats of data stores that have been looked up.
        places: Where the frames of image sets read lately stand, by their names; a hint, which may be outdated.
    """

    doors: Doors
    datastores: Datastores
    tokens: ClientTokens
    imports: Imports
    metadata: Metadata
    revisions: Revisions
    copies: Copies
    formats: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[Sequence[FrameAddress], Mapping[str, int]]] = field(default_factory=dict)

    def place(self, image_set: str, frame: str) -> int | None:
        """Where a frame stands among those of its image set, as far as is remembered."""
        known = self.places.get(image_set)
        return None if known is None else known[1].get(frame)

    def remember(self, image_set: str, frames: Sequence[FrameAddress]) -> None:
        """Note where the frames of an image set stand; forgets all others when there are too many."""
        known = self.places.get(image_set)
        if known is not None and known[0] is frames:
            return
        if sum(len(each) for each, _ in list(self.places.values())) + len(frames) > _PLACES:
            self.places.clear()
        names = {frame_id(each.instance.id, each.number): place for place, each in enumerate(frames)}
        self.places[image_set] = frames, names

    def storage_format(self, datastore: str) -> str:
        """What a data store was created with; it never changes, so it is looked up once."""
        if datastore not in self.formats:
            self.formats[datastore] = self.datastores.get(datastore).storage_format
        return self.formats[datastore]

    @classmethod
    def on(cls, doors: Doors) -> "Service":
        """The service of one installation."""
        platform, images = doors.platform, doors.images
        metadata = Metadata(platform.blobs, platform.records, platform.keys, images)
        return cls(
            doors=doors,
            datastores=Datastores(platform.records, platform.clock),
            tokens=ClientTokens(platform.records, platform.clock),
            imports=Imports(platform.records, platform.clock),
            metadata=metadata,
            revisions=Revisions(platform.blobs, platform.records, platform.clock, images),
            copies=Copies(platform.blobs, platform.records, platform.keys, platform.clock, images),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        accept: The media types the caller takes, as its Accept header says; empty for any.
    """

    service: Service
    principal: Principal
    members: Members
    accept: str = ""

    @property
    def images(self) -> GuardedImages:
        """The store, as this caller may see it."""
        return self.service.doors.images_of(self.principal)

    def demand(self, action: str) -> None:
        """Go on only where one of the caller's roles has `action`.

        Raises:
            Denied: None has.
        """
        self.service.doors.platform.policy.demand(self.principal, action)

    def shown(self) -> ImageSet:
        """The image set a request names, about to be shown, which is audited as a reading; raises as `image_set`."""
        identity = self.members["imageSetId"]
        found = self.images.look(identity)
        if found.datastore != self.members["datastoreId"]:
            raise NotFound(f"no image set {identity}")
        return found

    def image_set(self, action: str, name: str = "imageSetId") -> ImageSet:
        """The image set a request names, in the data store it names.

        Raises:
            NotFound: There is none there, or the caller may not know of it.
            Denied: None of the caller's roles has `action`.
        """
        identity = self.members[name]
        found = self.images.get(identity, action)
        if found.datastore != self.members["datastoreId"]:
            raise NotFound(f"no image set {identity}")
        return found


def arn_of(datastore: str, image_set: str | None = None) -> str:
    """The Amazon resource name of a data store or of an image set in it."""
    return f"arn:aws:medical-imaging:{REGION}:{ACCOUNT}:{resource_of(datastore, image_set)}"


def version_number(call: Call) -> int | None:
    """The version a request names; None for the present one."""
    text = call.members.get("versionId")
    return None if text is None else number_of(text)


def number_of(text: str) -> int:
    """A version number; one longer than any there can be is just one that is not there."""
    return int(text[-9:]) if len(text) <= 9 else 0  # noqa: PLR2004 — digits of a number that SQLite takes


def page_of(call: Call) -> tuple[int, int]:
    """Behind which place a page begins, and how long it may be."""
    token = call.members.get("nextToken")
    after = 0 if token is None else read_token(token, int)
    if after < 0:
        raise InvalidInput("nextToken is not one of ours")
    return after, call.members.get("maxResults", PAGE)


def token_of(value: Any) -> str | None:
    """What tells the next request where its page begins; None where there is no next one."""
    return None if value is None else base64.urlsafe_b64encode(orjson.dumps(value)).decode()


def read_token(token: str, kind: type[Any]) -> Any:
    """What `token_of` was given: a number, or a list of two.

    Raises:
        InvalidInput: It is not one of ours.
    """
    try:
        value = orjson.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError):
        raise InvalidInput("nextToken is not one of ours") from None
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, list) and len(value) != 2):  # noqa: PLR2004
        raise InvalidInput("nextToken is not one of ours")
    return value
