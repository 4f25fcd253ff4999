"""C-GET and C-MOVE: the very bytes go out, in a syntax the other side takes, and the counts are right."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.dicom.parse import parse
from radloop.dimse.peers import Peer
from radloop.store.transcoding import transcoded
from tests.dimse.door import (
    CT,
    EXPLICIT,
    IMPLICIT,
    PATIENT_GET,
    STUDY_GET,
    STUDY_MOVE,
    Door,
    associated,
    data_set_of,
    identifier,
    open_door,
)
from tests.store.house import of_patient, phantom

J2K = "1.2.840.10008.1.2.4.90"
STUDY = parse(phantom()[0]).study_uid


@contextmanager
def holding(root: Path, *files: bytes, **options: Any) -> Iterator[Door]:
    with open_door(root, **options) as door:
        landings = door.installation.images.land([Upload(file) for file in files], by=OWNER)
        assert {landing.outcome for landing in landings} == {"ingested"}
        yield door


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Door]:
    with holding(tmp_path / "home", *phantom()) as door:
        yield door


class Receiver:
    """Takes sub-operations in and answers as it is told to."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.received: dict[str, tuple[str, bytes]] = {}
        self.originators: list[Any] = []
        self._statuses = list(statuses)

    def take(self, event: Any) -> int:
        request = event.request
        self.received[str(request.AffectedSOPInstanceUID)] = (
            str(event.context.transfer_syntax),
            request.DataSet.getvalue(),
        )
        self.originators.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        return self._statuses.pop(0) if self._statuses else 0x0000

    @property
    def data_sets(self) -> list[bytes]:
        return sorted(data for _, data in self.received.values())


def get(
    door: Door, query: Dataset, receiver: Receiver, syntaxes: Sequence[str] = (EXPLICIT,), model: str = STUDY_GET
) -> list[tuple[Dataset, Dataset | None]]:
    handlers = [(evt.EVT_C_STORE, receiver.take)]
    with associated(door.port, (model, [EXPLICIT]), (CT, syntaxes), provides=[CT], handlers=handlers) as association:
        return list(association.send_c_get(query, model))


@contextmanager
def storage(receiver: Receiver, syntaxes: Sequence[str] = (EXPLICIT,), title: str = "STORAGE") -> Iterator[Peer]:
    """An application entity that takes CT images."""
    entity = AE(title)
    entity.require_called_aet = True
    entity.add_supported_context(CT, list(syntaxes))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, receiver.take)])
    try:
        yield Peer(title, "127.0.0.1", port)
    finally:
        server.shutdown()  # type: ignore[union-attr]


def move(door: Door, query: Dataset, destination: str) -> list[tuple[Dataset, Dataset | None]]:
    with associated(door.port, (STUDY_MOVE, [EXPLICIT])) as association:
        return list(association.send_c_move(query, destination, STUDY_MOVE, msg_id=9))


def counts(status: Dataset) -> tuple[int, int, int]:
    return (
        status.NumberOfCompletedSuboperations,
        status.NumberOfFailedSuboperations,
        status.NumberOfWarningSuboperations,
    )


@pytest.mark.parametrize("folded", [False, True])
def test_a_study_comes_back_byte_for_byte(holder: Door, folded: bool) -> None:
    if folded:
        (name,) = holder.installation.images.complete_quiet(-1, by=OWNER)
        holder.installation.images.fold(name)
    receiver = Receiver()
    answers = get(holder, identifier("STUDY", StudyInstanceUID=STUDY), receiver)
    assert [status.Status for status, _ in answers] == [0xFF00] * 3 + [0x0000]
    assert [status.NumberOfRemainingSuboperations for status, _ in answers[:-1]] == [3, 2, 1]
    assert counts(answers[-1][0]) == (4, 0, 0)
    assert receiver.data_sets == sorted(map(data_set_of, phantom()))
    assert holder.audited("read") > 0


def test_one_patient_one_series_or_some_instances_can_be_meant(holder: Door) -> None:
    first = parse(phantom()[0])
    two = [parse(file).sop_uid for file in phantom()[:2]]
    for query, number in (
        (identifier("PATIENT", PatientID="PHANTOM-00001"), 4),
        (identifier("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=first.series_uid), 4),
        (identifier("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=first.series_uid, SOPInstanceUID=two), 2),
        (identifier("IMAGE", SOPInstanceUID=two[0]), 1),
        (identifier("STUDY", PatientID="SOMEBODY ELSE", StudyInstanceUID=STUDY), 0),
        (identifier("STUDY", StudyInstanceUID="1.2.3"), 0),
    ):
        receiver = Receiver()
        answers = get(holder, query, receiver, model=PATIENT_GET)
        assert (answers[-1][0].Status, len(receiver.received)) == (0x0000, number)


@pytest.mark.parametrize(
    "query",
    [
        identifier("STUDY", StudyInstanceUID=""),
        identifier("STUDY", PatientID="PHANTOM-00001"),
        identifier("PATIENT", PatientID="PHANTOM*"),
        identifier("SERIES", StudyInstanceUID=STUDY),
    ],
    ids=["empty", "key of another level", "wildcard", "no series"],
)
def test_a_retrieval_without_its_unique_key_is_refused(holder: Door, query: Dataset) -> None:
    receiver = Receiver()
    ((status, _),) = get(holder, query, receiver, model=PATIENT_GET)
    assert (status.Status, receiver.received) == (0xA900, {})


def test_failures_and_warnings_are_counted_and_failed_instances_named(holder: Door) -> None:
    receiver = Receiver([0x0000, 0xA700, 0xB000, 0x0000])
    *_, (status, failed) = get(holder, identifier("STUDY", StudyInstanceUID=STUDY), receiver)
    assert (status.Status, counts(status)) == (0xB000, (2, 1, 1))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList in receiver.received


def test_where_nothing_could_be_sent_the_answer_says_so(holder: Door) -> None:
    receiver = Receiver([0xA700] * 4)
    *_, (status, failed) = get(holder, identifier("STUDY", StudyInstanceUID=STUDY), receiver)
    assert (status.Status, counts(status)) == (0xA702, (0, 4, 0))
    assert failed is not None
    assert sorted(failed.FailedSOPInstanceUIDList) == sorted(receiver.received)


def test_what_is_stored_compressed_goes_as_it_is_or_uncompressed(tmp_path: Path) -> None:
    files = [transcoded(file, J2K) for file in phantom()]
    with holding(tmp_path, *files) as door:
        same = Receiver()
        get(door, identifier("STUDY", StudyInstanceUID=STUDY), same, [J2K])
        assert same.data_sets == sorted(map(data_set_of, files))
        plain = Receiver()
        answers = get(door, identifier("STUDY", StudyInstanceUID=STUDY), plain, [IMPLICIT])
        assert answers[-1][0].Status == 0x0000
        assert {syntax for syntax, _ in plain.received.values()} == {IMPLICIT}
        pixels = {data[-64 * 64 * 2 :] for data in plain.data_sets}
        assert pixels == {data_set_of(file)[-64 * 64 * 2 :] for file in phantom()}


def test_a_class_the_requestor_does_not_take_fails(holder: Door) -> None:
    other = "1.2.840.10008.5.1.4.1.1.4"
    with associated(holder.port, (STUDY_GET, [EXPLICIT]), (other, [EXPLICIT]), provides=[other]) as association:
        *_, (status, _) = association.send_c_get(identifier("STUDY", StudyInstanceUID=STUDY), STUDY_GET)
    assert (status.Status, counts(status)) == (0xA702, (0, 4, 0))


def test_a_get_can_be_cancelled(tmp_path: Path) -> None:
    files = [file for number in range(1, 31) for file in of_patient(number)]
    study = parse(files[0]).study_uid
    with holding(tmp_path, *files) as door:
        receiver = Receiver()
        held: list[Any] = []

        def take(event: Any) -> int:
            if len(receiver.received) == 0:
                held[0].send_c_cancel(3, query_model=PATIENT_GET)
            time.sleep(0.01)
            return receiver.take(event)

        with associated(
            door.port,
            (PATIENT_GET, [EXPLICIT]),
            (CT, [EXPLICIT]),
            provides=[CT],
            handlers=[(evt.EVT_C_STORE, take)],
        ) as association:
            held.append(association)
            query = identifier("STUDY", PatientID="PHANTOM-00001", StudyInstanceUID=study)
            *_, (status, _) = association.send_c_get(query, PATIENT_GET, msg_id=3)
        assert status.Status == 0xFE00
        assert status.NumberOfRemainingSuboperations + status.NumberOfCompletedSuboperations == 4


def test_a_move_sends_to_the_peer_that_is_named(tmp_path: Path) -> None:
    receiver = Receiver()
    with storage(receiver) as peer, holding(tmp_path, *phantom(), peers=[peer]) as door:
        answers = move(door, identifier("STUDY", StudyInstanceUID=STUDY), "STORAGE")
        assert [status.Status for status, _ in answers] == [0xFF00] * 3 + [0x0000]
        assert counts(answers[-1][0]) == (4, 0, 0)
        assert receiver.data_sets == sorted(map(data_set_of, phantom()))
        assert set(receiver.originators) == {("SCANNER", 9)}
        assert door.audited("move") == 1


def test_a_move_to_whom_we_do_not_know_is_refused(holder: Door) -> None:
    ((status, _),) = move(holder, identifier("STUDY", StudyInstanceUID=STUDY), "NOBODY")
    assert status.Status == 0xA801


def test_a_move_to_a_peer_that_is_not_there_fails_with_all_its_instances(tmp_path: Path) -> None:
    with holding(tmp_path, *phantom(), peers=[Peer("GONE", "127.0.0.1", 1)]) as door:
        *_, (status, failed) = move(door, identifier("STUDY", StudyInstanceUID=STUDY), "GONE")
        assert (status.Status, counts(status)) == (0xA702, (0, 4, 0))
        assert failed is not None
        assert sorted(failed.FailedSOPInstanceUIDList) == sorted(parse(file).sop_uid for file in phantom())


def test_a_move_to_a_peer_that_breaks_off_tells_what_arrived(tmp_path: Path) -> None:
    class Breaking(Receiver):
        def take(self, event: Any) -> int:
            if len(self.received) == 2:
                event.assoc.abort()
            return super().take(event)

    with storage(Breaking()) as peer, holding(tmp_path, *phantom(), peers=[peer]) as door:
        *_, (status, failed) = move(door, identifier("STUDY", StudyInstanceUID=STUDY), "STORAGE")
        assert (status.Status, counts(status)) == (0xB000, (2, 2, 0))
        assert failed is not None
        assert len(failed.FailedSOPInstanceUIDList) == 2


def test_a_move_to_a_peer_that_reads_only_implicit_is_written_so(tmp_path: Path) -> None:
    receiver = Receiver()
    with storage(receiver, [IMPLICIT]) as peer, holding(tmp_path, *phantom(), peers=[peer]) as door:
        *_, (status, _) = move(door, identifier("STUDY", StudyInstanceUID=STUDY), "STORAGE")
        assert counts(status) == (4, 0, 0)
        assert {syntax for syntax, _ in receiver.received.values()} == {IMPLICIT}
