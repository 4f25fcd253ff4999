"""What the DIMSE door counts, and that the HTTP doors tell it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radloop.core.contracts import contracts
from radloop.dicom.parse import parse
from radloop.monitoring.associations import ASSOCIATIONS, BYTES, OPERATIONS, REFUSED, AssociationMeter
from radloop.monitoring.metrics import COUNTED_IN, load_metrics
from tests.dimse.door import (
    CT,
    EXPLICIT,
    IMPLICIT,
    STUDY_FIND,
    STUDY_GET,
    VERIFICATION,
    Door,
    associated,
    data_set_of,
    identifier,
    open_door,
    send,
    send_raw,
)
from tests.dimse.test_retrieve import Receiver, get, holding
from tests.store.house import phantom

ROOT = Path(__file__).parents[2]
CATALOGUE = load_metrics((contracts() / "metrics.json").read_text())


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path / "home") as opened:
        yield opened


def counted(door: Door, expected: float, name: str, **labels: str) -> bool:
    """Whether it comes to be counted so: the peer is answered first."""
    deadline = time.monotonic() + 5
    while door.counted(name, **labels) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return door.counted(name, **labels) == expected


def test_associations_are_counted_by_what_became_of_them(door: Door) -> None:
    with associated(door.port, (VERIFICATION, [IMPLICIT])) as association:
        assert association.send_c_echo().Status == 0
        assert door.counted(ASSOCIATIONS, became="accepted") == 1
        assert door.counted(ASSOCIATIONS, became="released") == 0
    assert counted(door, 1, ASSOCIATIONS, became="released")
    with associated(door.port, (VERIFICATION, [IMPLICIT])) as association:
        association.abort()
    assert counted(door, 1, ASSOCIATIONS, became="cut-off")
    with associated(door.port, (VERIFICATION, [IMPLICIT]), called="ANOTHER") as association:
        assert not association.is_established
    assert counted(door, 1, REFUSED, reason="wrong-title")
    assert door.counted(ASSOCIATIONS, became="accepted") == 2


def test_a_stranger_is_counted_as_refused(tmp_path: Path) -> None:
    with open_door(tmp_path / "home", is_open=False) as door:
        with associated(door.port, (VERIFICATION, [IMPLICIT])) as association:
            assert association.is_rejected
        assert counted(door, 1, REFUSED, reason="unknown-caller")
        assert door.counted(ASSOCIATIONS, became="accepted") == 0


def test_operations_are_counted_by_kind_and_outcome_and_bytes_by_direction(door: Door) -> None:
    file = phantom()[0]
    with associated(door.port, (CT, [EXPLICIT]), (STUDY_FIND, [EXPLICIT]), (VERIFICATION, [IMPLICIT])) as association:
        association.send_c_echo()
        assert send(association, file).Status == 0
        named = parse(file)
        broken = data_set_of(file)[:-10]
        assert send_raw(association, broken, syntax=EXPLICIT, sop_class=named.sop_class, sop_uid=named.sop_uid).Status
        list(association.send_c_find(identifier("STUDY", StudyInstanceUID=named.study_uid), STUDY_FIND))
    assert counted(door, 1, OPERATIONS, operation="C-ECHO", outcome="success")
    assert counted(door, 1, OPERATIONS, operation="C-STORE", outcome="success")
    assert counted(door, 1, OPERATIONS, operation="C-STORE", outcome="failed")
    assert counted(door, 1, OPERATIONS, operation="C-FIND", outcome="success")
    sent = len(data_set_of(file)) + len(broken)
    assert sent < door.counted(BYTES, direction="received") < sent + 20_000
    assert 0 < door.counted(BYTES, direction="sent") < 20_000


def test_a_retrieval_is_one_operation_and_each_instance_it_sends_another(tmp_path: Path) -> None:
    with holding(tmp_path / "home", *phantom()) as door:
        query = identifier("STUDY", StudyInstanceUID=parse(phantom()[0]).study_uid)
        get(door, query, Receiver([0x0000, 0xB007, 0xA700, 0x0000]))
        assert counted(door, 1, OPERATIONS, operation="C-GET", outcome="warning")
        assert counted(door, 2, OPERATIONS, operation="C-STORE-SENT", outcome="success")
        assert counted(door, 1, OPERATIONS, operation="C-STORE-SENT", outcome="warning")
        assert counted(door, 1, OPERATIONS, operation="C-STORE-SENT", outcome="refused")
        assert door.counted(BYTES, direction="sent") > sum(len(data_set_of(file)) for file in phantom())


def test_a_peer_that_goes_in_the_middle_was_cut_off(tmp_path: Path) -> None:
    with holding(tmp_path / "home", *phantom()) as door:
        query = identifier("STUDY", StudyInstanceUID=parse(phantom()[0]).study_uid)
        with associated(door.port, (STUDY_GET, [EXPLICIT]), (CT, [EXPLICIT]), provides=[CT]) as association:
            association.send_c_get(query, STUDY_GET)  # sent, and never answered
            association.abort()
        assert counted(door, 1, OPERATIONS, operation="C-GET", outcome="cut-off")


def test_words_the_contract_does_not_have_are_other() -> None:
    meter = AssociationMeter(CATALOGUE)
    meter.operation("N-CREATE", "a peer's own words")
    meter.refused("a peer's own words")
    assert meter.registry.get_sample_value(OPERATIONS, {"operation": "other", "outcome": "other"}) == 1
    assert meter.registry.get_sample_value(REFUSED, {"reason": "other"}) == 1


COUNT = """
import json, sys
from radloop.monitoring.associations import AssociationMeter
from radloop.monitoring.metrics import Meter, load_metrics
from radloop.core.contracts import contracts
catalogue = load_metrics((contracts() / "metrics.json").read_text())
if sys.argv[1] == "count":
    meter = AssociationMeter(catalogue)
    meter.operation("C-STORE", "success")
    meter.received(1000)
else:
    samples = [sample for family in Meter(catalogue, []).counted()[0] for sample in family.samples]
    print(json.dumps([[sample.name, *sample.labels.values(), sample.value] for sample in samples]))
"""


def test_another_process_tells_what_this_one_counted(tmp_path: Path) -> None:
    environment = {**os.environ, COUNTED_IN: str(tmp_path)}

    def run(what: str) -> str:
        command = [sys.executable, "-c", COUNT, what]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    run("count")
    run("count")
    found = json.loads(run("tell"))
    assert [OPERATIONS, "C-STORE", "success", 2.0] in found
    assert [BYTES, "received", 2000.0] in found
