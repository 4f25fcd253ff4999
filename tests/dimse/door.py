"""A DIMSE server on real parts in a temporary home, and scanners that call it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from radloop.core.contracts import contracts
from radloop.core.platform import Platform
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.header import data_set_start
from radloop.dicom.parse import parse
from radloop.dimse.limits import Limits
from radloop.dimse.peers import Peer, Peers
from radloop.dimse.server import Server
from radloop.monitoring.associations import AssociationMeter
from radloop.monitoring.metrics import load_metrics
from radloop.wiring import Installation, open_local

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PATIENT_FIND, PATIENT_MOVE, PATIENT_GET = (f"1.2.840.10008.5.1.4.1.2.1.{number}" for number in (1, 2, 3))
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
QUICK = Limits(acse_s=1.0, dimse_s=5.0, network_s=2.0, object_bytes=4 << 20)


@dataclass
class Door:
    """A running server."""

    server: Server
    port: int
    installation: Installation
    meter: AssociationMeter

    def counted(self, name: str, **labels: str) -> float:
        """How often something was counted."""
        return self.meter.registry.get_sample_value(name, labels) or 0.0

    def exported(self) -> dict[str, bytes]:
        """Every current file by SOP instance UID."""
        images, records = self.installation.images, self.installation.platform.records
        found = {}
        for row in records.find(IMAGE_SETS):
            for instance in images.instances(row.key):
                found[instance.sop_uid] = images.export(instance)
        return found

    def audited(self, action: str) -> int:
        """How often something was done, as the audit has it a second later at most."""
        deadline = time.monotonic() + 5
        self.installation.audit.flush()
        while time.monotonic() < deadline:
            number = sum(noted.count for noted in self.installation.audit.entries(where={"action": action}))
            if number:
                return number
            time.sleep(0.1)
        return 0


@contextmanager
def open_door(
    root: Path,
    *,
    peers: Sequence[Peer] = (),
    is_open: bool = True,
    limits: Limits | None = None,
    platform: Callable[[Platform], Platform] = lambda platform: platform,
    most: int = 16,
) -> Iterator[Door]:
    """A server on a free port of the loopback."""
    with open_local(root) as installation:
        given = platform(
            replace(installation.platform, settings=replace(installation.platform.settings, dimse_associations=most))
        )

        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        meter = AssociationMeter(load_metrics((contracts() / "metrics.json").read_text()))
        server = Server(
            "RADLOOP",
            platform=given,
            images=installation.images,
            peers=Peers(peers, is_open=is_open),
            listener=listener,
            meter=meter,
            limits=limits,
        )
        accepting = threading.Thread(target=server.serve, daemon=True)
        accepting.start()
        try:
            yield Door(server, port, installation, meter)
        finally:
            server.stop()
            accepting.join(timeout=10)


@contextmanager
def associated(
    port: int,
    *offers: tuple[str, Sequence[str]],
    title: str = "SCANNER",
    called: str = "RADLOOP",
    handlers: Any = None,
    provides: Sequence[str] = (),
) -> Iterator[Association]:
    """An association of a scanner with whatever listens on `port`."""
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for abstract, syntaxes in offers:
        entity.add_requested_context(abstract, list(syntaxes))
    roles = [build_role(uid, scp_role=True) for uid in provides]
    association = entity.associate(
        "127.0.0.1", port, ae_title=called, ext_neg=roles, evt_handlers=handlers or [], max_pdu=0
    )
    connection = None if association.dul.socket is None else association.dul.socket.socket
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        if connection is not None:
            connection.close()  # pynetdicom leaves it open where the other side was first


def send(association: Association, file: bytes, **changed: Any) -> Any:
    """Send a Part 10 file's data set just as it is encoded; the response."""
    instance = parse(file) if "sop_uid" not in changed else None
    syntax, start = data_set_start(file)
    return send_raw(
        association,
        file[start:],
        syntax=syntax,
        sop_class=changed.get("sop_class") or (instance.sop_class if instance else CT),
        sop_uid=changed.get("sop_uid") or (instance.sop_uid if instance else ""),
    )


def send_raw(association: Association, data_set: bytes, *, syntax: str, sop_class: str, sop_uid: str) -> Any:
    """Send bytes as a data set; the response."""
    (context,) = [
        context
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class and context.transfer_syntax[0] == syntax
    ]
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(sop_class), UID(sop_uid)
    request.Priority = 0
    request.DataSet = BytesIO(data_set)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.0001)
    assert context.context_id is not None
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return response


def identifier(level: str, **keys: Any) -> Dataset:
    """A query."""
    data_set = Dataset()
    for keyword, value in {"QueryRetrieveLevel": level, **keys}.items():
        vr = dictionary_VR(keyword)
        data_set.add(DataElement(Tag(keyword), vr, value, validation_mode=IGNORE))
    return data_set


def echoes(port: int) -> bool:
    """Whether the server still answers."""
    with associated(port, (VERIFICATION, [IMPLICIT])) as association:
        return association.is_established and association.send_c_echo().Status == 0


def data_set_of(file: bytes) -> bytes:
    """The encoded data set of a Part 10 file."""
    return file[data_set_start(file)[1] :]
