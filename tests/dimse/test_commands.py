"""Command sets: what is written is read back, pynetdicom reads the same, and noise is refused and nothing else."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_MOVE_RSP, C_STORE_RQ
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND, C_MOVE, C_STORE
from pynetdicom.dsutils import decode

from radloop.dimse.commands import BadMessage, read_command, write_command
from radloop.dimse.limits import Budget
from tests.dimse.door import CT


def store_request(title: str = "MOVER") -> C_STORE:
    request = C_STORE()
    request.MessageID, request.Priority = 513, 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(CT), UID("1.2.34")
    request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = title, 7
    request.DataSet = BytesIO(b"1")
    return request


def move_response() -> C_MOVE:
    response = C_MOVE()
    response.MessageIDBeingRespondedTo, response.Status = 9, 0xB000
    response.AffectedSOPClassUID = UID("1.2.840.10008.5.1.4.1.2.2.2")
    response.NumberOfCompletedSuboperations, response.NumberOfFailedSuboperations = 3, 1
    response.NumberOfWarningSuboperations = 0
    return response


@pytest.mark.parametrize(
    ("primitive", "message", "has_data"),
    [(store_request(), C_STORE_RQ(), True), (move_response(), C_MOVE_RSP(), False)],
    ids=["request", "response"],
)
def test_pynetdicom_reads_the_same_out_of_what_we_write(primitive: Any, message: Any, has_data: bool) -> None:
    message.primitive_to_message(primitive)
    ours = decode(BytesIO(write_command(primitive, has_data_set=has_data)), True, True)
    theirs = {element.keyword: element.value for element in message.command_set if element.value is not None}
    assert {element.keyword: element.value for element in ours} == {
        **theirs,
        "CommandGroupLength": ours.CommandGroupLength,
    }
    assert ours.CommandGroupLength == len(write_command(primitive, has_data_set=has_data)) - 12


def test_what_is_written_is_read_back() -> None:
    read, has_data = read_command(write_command(store_request(), has_data_set=True))
    assert has_data
    assert isinstance(read, C_STORE)
    assert (read.MessageID, read.AffectedSOPInstanceUID, read.AffectedSOPClassUID) == (513, "1.2.34", CT)
    assert (read.MoveOriginatorApplicationEntityTitle, read.MoveOriginatorMessageID) == ("MOVER", 7)
    assert read.MessageIDBeingRespondedTo is None


def test_a_cancel_names_the_message_it_is_about() -> None:
    cancel = C_CANCEL()
    cancel.MessageIDBeingRespondedTo = 11
    element = write_command(move_response(), has_data_set=False)
    data = element.replace(b"\x21\x80", b"\xff\x0f").replace(
        b"\x20\x01\x02\x00\x00\x00\x09", b"\x20\x01\x02\x00\x00\x00\x0b"
    )
    read, has_data = read_command(data)
    assert isinstance(read, C_CANCEL)
    assert (read.MessageIDBeingRespondedTo, has_data) == (11, False)


def test_a_priority_that_does_not_exist_is_the_usual_one() -> None:
    find = C_FIND()
    find.MessageID, find.AffectedSOPClassUID = 1, UID("1.2.840.10008.5.1.4.1.2.2.1")
    find.Identifier = BytesIO()
    find.Priority = 2
    data = write_command(find, has_data_set=True)
    wrong = data.replace(b"\x00\x07\x02\x00\x00\x00\x02\x00", b"\x00\x07\x02\x00\x00\x00\x09\x00")
    assert wrong != data
    assert read_command(wrong)[0].Priority == 0


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        read_command(data)


@given(st.data())
def test_a_command_with_a_flaw_is_read_or_refused(data: st.DataObject) -> None:
    command = bytearray(write_command(store_request(), has_data_set=True))
    for _ in range(data.draw(st.integers(1, 4))):
        command[data.draw(st.integers(0, len(command) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMessage):
        primitive, _ = read_command(bytes(command))
        assert type(primitive).__name__.startswith("C_")


def test_a_budget_gives_no_more_than_it_has() -> None:
    budget = Budget(10)
    assert budget.take(6)
    assert not budget.take(5)
    budget.give_back(6)
    assert budget.take(10)
