"""C-STORE: what a peer sends becomes a file, byte for byte, and is acknowledged once it is durable (PS3.4 Annex B)."""

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from radloop.core.errors import Corrupt, Denied, NotFound, RadloopError, Unavailable
from radloop.core.identity import Principal
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Records, Upload
from radloop.core.tables import DEFAULT_DATASTORE, INSTANCES
from radloop.dicom.header import data_set_start, file_header
from radloop.functions.image_ingestion import ingest
from radloop.store.images import ImageStore
from radloop.store.instances import instance_of

SUCCESS = 0x0000
NOT_AUTHORIZED = 0x0124
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
KEPT_BUT_DIFFERS = 0xB007
CANNOT_UNDERSTAND = 0xC000

REFUSALS = {
    "invalid-identity": DOES_NOT_MATCH,
    "missing-attribute": DOES_NOT_MATCH,
    "pixel-data-mismatch": DOES_NOT_MATCH,
}
"""Status by the code of what was quarantined; all others cannot be understood."""

_LANDERS = 3
_BATCH_FILES = 64
_BATCH_BYTES = 256 << 20
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, slots=True)
class Sent:
    """An instance as it came.

    Attributes:
        sop_class: As the command named it; `sop_uid` too.
        transfer_syntax: Of the presentation context.
        source: Calling AE title.
        data_set: Encoded as the transfer syntax says; never decoded here.
    """

    sop_class: str
    sop_uid: str
    transfer_syntax: str
    source: str
    data_set: bytes

    def file(self) -> bytes:
        """The Part 10 file."""
        header = file_header(
            sop_class=self.sop_class,
            sop_uid=self.sop_uid,
            transfer_syntax=self.transfer_syntax,
            source=self.source,
        )
        return b"".join((header, self.data_set))


@dataclass(frozen=True, slots=True)
class _Waiting:
    data: bytes
    principal: Principal
    landing: "Future[Landing]" = field(default_factory=Future)


class Intake:
    """Lands what all associations bring: what waits together lands together, in one pack a series.

    Of 64 CT slices over each of four associations, one lander took in 53 and 70 a second, three 62 and 145 and four 114
    and 116; landing in the thread of each association 75 and 92 (2 cores, both busy with something else).
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._is_closed = False
        self._landers = [threading.Thread(target=self._work, name="dimse-intake", daemon=True) for _ in range(_LANDERS)]
        for lander in self._landers:
            lander.start()

    def land(self, data: bytes, principal: Principal) -> Landing:
        """Land one file; on return it is durable, a known duplicate, or quarantined.

        Raises:
            RadloopError: What landing raised: the disk or the database refused.
        """
        if self._is_closed:
            raise Unavailable("the intake is closed")
        waiting = _Waiting(data, principal)
        self._queue.put(waiting)
        return waiting.landing.result()

    def close(self) -> None:
        """Land what waits, and no more."""
        self._is_closed = True
        for _ in self._landers:
            self._queue.put(None)
        for lander in self._landers:
            lander.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, size, is_last = [first], len(first.data), False
            while len(batch) < _BATCH_FILES and size < _BATCH_BYTES:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    is_last = True
                    break
                batch.append(item)
                size += len(item.data)
            for principal in dict.fromkeys(item.principal for item in batch):
                self._land([item for item in batch if item.principal == principal], principal)
            del batch, first  # hundreds of megabytes, perhaps, while the queue sleeps
            if is_last:
                return

    def _land(self, items: list[_Waiting], principal: Principal) -> None:
        """Land files of one principal together; where that fails, each by itself, so that none fails for another."""
        try:
            landings = ingest([Upload(item.data) for item in items], self._platform, by=principal)
        except Exception as error:  # noqa: BLE001 — whoever waits is told, and the intake lives on
            if len(items) > 1:
                for item in items:
                    self._land([item], principal)
            else:
                items[0].landing.set_exception(error)
            return
        for item, landing in zip(items, landings, strict=True):
            item.landing.set_result(landing)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a C-STORE response, and the code that explains it."""

    status: int
    comment: str = ""


def store(sent: Sent, principal: Principal, platform: Platform, images: ImageStore, intake: Intake) -> Answer:
    """Take one instance in.

    A duplicate is a success, and the same data set counts as one, whoever sends it. So are other bytes under a SOP
    instance UID that is known already: they are kept as the newer version and the older ones stay, so nothing was
    coerced or discarded that a warning should tell of.
    """
    try:
        platform.policy.demand(principal, "image.write")
        if is_kept(sent, platform.records, images):
            return Answer(SUCCESS)
        return _answer(sent, intake.land(sent.file(), principal))
    except Denied as error:
        return Answer(NOT_AUTHORIZED, error.code)
    except RadloopError as error:
        return Answer(OUT_OF_RESOURCES, error.code)
    except (OSError, MemoryError):
        return Answer(OUT_OF_RESOURCES, Unavailable.code)


def _answer(sent: Sent, landing: Landing) -> Answer:
    """What the sender is told of what became of its instance."""
    if landing.outcome == "quarantined":
        reason = landing.reason or "invalid-input"
        return Answer(REFUSALS.get(reason, CANNOT_UNDERSTAND), reason)
    if (landing.sop_class, landing.instance) != (sent.sop_class, sent.sop_uid):
        return Answer(KEPT_BUT_DIFFERS, "command-differs")
    return Answer(SUCCESS)


def is_kept(sent: Sent, records: Records, images: ImageStore) -> bool:
    """Whether this very data set is what we show under its UID already, as from a file or from another peer.

    The header tells who sent it, so that the files differ although nothing else does; landing, which compares files,
    would take that for a new version, and open an image set again that somebody has verified.
    """
    for row in records.find(INSTANCES, {"sop_uid": sent.sop_uid}):
        instance = instance_of(row)
        if instance.superseded_by is not None or instance.transfer_syntax != sent.transfer_syntax:
            continue
        if not 0 <= instance.size_bytes - len(sent.data_set) <= _LONGEST_HEADER:
            continue
        try:
            if images.get(instance.image_set).datastore != DEFAULT_DATASTORE:
                continue
            file = images.export(instance)
        except (Corrupt, NotFound):
            continue  # then it is good to have it again
        if memoryview(file)[data_set_start(file)[1] :] == sent.data_set:
            return True
    return False
