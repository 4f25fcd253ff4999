"""Data stores: named boxes of image sets, and the tags and tokens that belong to them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from radloop.core.errors import Conflict, InvalidInput, NotFound
from radloop.core.identity import Principal, derived_id, new_id
from radloop.core.ports import Adjust, AuditEntry, Change, Clock, Delete, Put, Records, Row, Stands, Term
from radloop.core.tables import CLIENT_TOKENS, DATASTORES, DEFAULT_DATASTORE, IMAGE_SETS, TAGS

ACTIVE = "ACTIVE"
DELETED = "DELETED"
DEFAULT_NAME = "radloop"
MOST_DATASTORES = 100
MOST_TAGS = 50
TOKEN_HOURS = 24

_OLD_TOKENS = 100

Writes = Sequence[Put | Adjust | Delete]


class QuotaExceeded(InvalidInput):
    """There are as many of a thing as there may be."""

    code = "quota-exceeded"


@dataclass(frozen=True, slots=True)
class Datastore:
    """A data store.

    Attributes:
        status: ACTIVE or DELETED.
        storage_format: HTJ2K or JPEG_2000_LOSSLESS: what its frames are given out as.
        key_arn, authorizer_arn: As its maker named them; kept and told, not used.
    """

    id: str
    name: str
    status: str
    storage_format: str
    key_arn: str | None
    authorizer_arn: str | None
    created_at: datetime
    updated_at: datetime


class Datastores:
    """The data stores of one installation; the one called `radloop` is always there."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def create(
        self,
        *,
        name: str | None,
        storage_format: str,
        key_arn: str | None,
        authorizer_arn: str | None,
        tags: Mapping[str, str],
        by: Principal,
        also: Callable[[Datastore], Writes] = lambda _: (),
    ) -> Datastore:
        """A new, empty data store; `also` gives writes that belong into the same commit.

        Raises:
            QuotaExceeded: There are `MOST_DATASTORES` already.
            InvalidInput: More than `MOST_TAGS` tags.
        """
        self.get(DEFAULT_DATASTORE)
        if self._records.count(DATASTORES, {"status": ACTIVE}) >= MOST_DATASTORES:
            raise QuotaExceeded(f"there may be {MOST_DATASTORES} data stores")
        now, identity = self._clock(), new_id()
        store = Datastore(
            identity, name or f"datastore-{identity[:8]}", ACTIVE, storage_format, key_arn, authorizer_arn, now, now
        )
        writes: list[Put | Adjust | Delete] = [_put(store, expected=0), *also(store)]
        if tags:
            writes.append(self._tagging(resource_of(identity), tags))
        self._records.commit(Change(writes=writes, audit=[AuditEntry(by.id, "create-datastore", identity)]))
        return store

    def get(self, identity: str) -> Datastore:
        """One data store; a deleted one is still told of.

        Raises:
            NotFound: There never was one.
        """
        row = self._records.get(DATASTORES, identity)
        if row is not None:
            return _datastore(row)
        if identity != DEFAULT_DATASTORE:
            raise NotFound(f"no data store {identity}")
        now = self._clock()
        store = Datastore(identity, DEFAULT_NAME, ACTIVE, "HTJ2K", None, None, now, now)
        try:
            self._records.commit(Change(writes=[_put(store, expected=0)]))
        except Conflict:
            return self.get(identity)
        return store

    def active(self, identity: str) -> Datastore:
        """One data store that is there to be used.

        Raises:
            NotFound: There is none, or it is deleted.
        """
        store = self.get(identity)
        if store.status != ACTIVE:
            raise NotFound(f"no data store {identity}")
        return store

    def page(self, *, status: str | None, after: int, limit: int) -> tuple[list[Datastore], int | None]:
        """Data stores in the order they were made, and where the next page begins."""
        self.get(DEFAULT_DATASTORE)
        where = None if status is None else {"status": status}
        rows = self._records.find(DATASTORES, where, after=after, limit=limit + 1)
        more = rows[limit - 1].order if len(rows) > limit else None
        return [_datastore(row) for row in rows[:limit]], more

    def delete(self, identity: str, *, by: Principal) -> Datastore:
        """Give up an empty data store; its id and name stay known.

        Raises:
            NotFound: There is none.
            Conflict: It holds image sets, or it is the one every installation has.
        """
        row = self._records.get(DATASTORES, identity)
        store = self.get(identity)
        if identity == DEFAULT_DATASTORE:
            raise Conflict("the data store that every installation has cannot be deleted")
        if store.status == DELETED or row is None:
            return store
        if self._records.search(IMAGE_SETS, [Term("datastore", "is", (identity,))], limit=1):
            raise Conflict(f"data store {identity} still holds image sets; delete those first")
        gone = Datastore(
            store.id,
            store.name,
            DELETED,
            store.storage_format,
            store.key_arn,
            store.authorizer_arn,
            store.created_at,
            self._clock(),
        )
        writes = (_put(gone, expected=row.revision), Delete(TAGS, resource_of(identity)))
        self._records.commit(Change(writes=writes, audit=[AuditEntry(by.id, "delete-datastore", identity)]))
        return gone

    # tags

    def tags(self, resource: str) -> dict[str, str]:
        """The tags of a data store or an image set; `resource` as `resource_of` names it."""
        row = self._records.get(TAGS, resource)
        return {} if row is None else dict(row.document["tags"])

    def tag(self, resource: str, tags: Mapping[str, str], *, by: Principal) -> None:
        """Add tags, or replace those of the same key.

        Raises:
            NotFound: The image set they are to hang on has been deleted.
            InvalidInput: There would be more than `MOST_TAGS`.
        """
        write = self._tagging(resource, {**self.tags(resource), **tags})
        self._records.commit(Change([*_owner(resource), write], audit=[AuditEntry(by.id, "tag", resource)]))

    def untag(self, resource: str, keys: list[str], *, by: Principal) -> None:
        """Take tags away; those that are not there are no error.

        Raises:
            NotFound: The image set they hang on has been deleted.
        """
        left = {key: value for key, value in self.tags(resource).items() if key not in keys}
        write = self._tagging(resource, left)
        self._records.commit(Change([*_owner(resource), write], audit=[AuditEntry(by.id, "untag", resource)]))

    @staticmethod
    def _tagging(resource: str, tags: Mapping[str, str]) -> Put:
        if len(tags) > MOST_TAGS:
            raise InvalidInput(f"a resource may have {MOST_TAGS} tags")
        return Put(TAGS, resource, {"tags": dict(tags)})


def resource_of(datastore: str, image_set: str | None = None) -> str:
    """What tags hang on, in the words of an ARN.

    >>> resource_of("a", "b")
    'datastore/a/imageset/b'
    """
    return f"datastore/{datastore}" if image_set is None else f"datastore/{datastore}/imageset/{image_set}"


def _owner(resource: str) -> list[Stands]:
    """What must be there for tags to hang on it: an image set, for data stores are never removed."""
    _, is_image_set, image_set = resource.partition("/imageset/")
    return [Stands(IMAGE_SETS, image_set)] if is_image_set else []


class ClientTokens:
    """What was answered to requests that carry a client's token, so that asking again does nothing again."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def once(
        self,
        operation: str,
        token: str,
        request: Mapping[str, Any],
        work: Callable[[Callable[[dict[str, Any]], Writes]], dict[str, Any]],
    ) -> dict[str, Any]:
        """Do `work` once for a token; who asks again within `TOKEN_HOURS` gets the same answer.

        Args:
            operation: Tokens of different operations are different, and of different callers, who belong into it.
            token: The client's.
            request: What was asked for, as plain values.
            work: Does it and returns the answer. It is given a function from the answer to writes that must be in
                the commit that makes it true, so that of two at the same moment one does it.

        Raises:
            Conflict: The token was used for another request, or what `work` raises.
        """
        known = self._known(operation, token, request)
        if known is not None:
            return known
        try:
            return work(lambda answer: self._kept(operation, token, request, answer))
        except Conflict:
            known = self._known(operation, token, request)
            if known is None:
                raise
            return known

    def _known(self, operation: str, token: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        row = self._records.get(CLIENT_TOKENS, derived_id("token", operation, token))
        if row is None or row.document["at"] <= self._oldest():
            return None
        if row.document["asked"] != _fingerprint(request):
            raise Conflict("this client token was used for another request")
        return dict(row.document["answer"])

    def _kept(self, operation: str, token: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> Writes:
        key, oldest = derived_id("token", operation, token), self._oldest()
        row = self._records.get(CLIENT_TOKENS, key)
        now = self._clock().timestamp()
        document = {"asked": _fingerprint(request), "answer": dict(answer), "at": now}
        gone = self._records.search(CLIENT_TOKENS, [Term("at", "between", (None, oldest))], limit=_OLD_TOKENS)
        expected = 0 if row is None else row.revision
        return [
            *(Delete(CLIENT_TOKENS, old.key) for old in gone if old.key != key),
            Put(CLIENT_TOKENS, key, document, {"at": now}, expected),
        ]

    def _oldest(self) -> float:
        return (self._clock() - timedelta(hours=TOKEN_HOURS)).timestamp()


def _fingerprint(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _put(store: Datastore, *, expected: int) -> Put:
    document = {
        "id": store.id,
        "name": store.name,
        "status": store.status,
        "storage_format": store.storage_format,
        "key_arn": store.key_arn,
        "authorizer_arn": store.authorizer_arn,
        "created_at": store.created_at.isoformat(),
        "updated_at": store.updated_at.isoformat(),
    }
    return Put(DATASTORES, store.id, document, {"status": store.status}, expected=expected)


def _datastore(row: Row) -> Datastore:
    document = dict(row.document)
    for name in ("created_at", "updated_at"):
        document[name] = datetime.fromisoformat(document[name])
    return Datastore(**document)
