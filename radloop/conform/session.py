"""What the checks of one run share: the server, and what was stored on it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from radloop.conform.model import Differs, NotTested
from radloop.conform.wire import JSON, Answer, Server, multipart
from radloop.dicom.specimens import Specimen, Study

IN_MULTIPART = 'multipart/related; type="{}"'
OCTETS = IN_MULTIPART.format("application/octet-stream")
ANY_DICOM = IN_MULTIPART.format("application/dicom") + "; transfer-syntax=*"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """Instances of one series that are on the server.

    Attributes:
        token: Of the study's PatientID and AccessionNumber; empty where it is not of our making.
        specimens: What was sent, in the order it was made; empty where it is not of our making.
        frame_count: Frames of the first instance.
    """

    token: str
    study: str
    series: str
    instances: tuple[str, ...]
    frame_count: int
    specimens: tuple[Specimen, ...] = ()

    @property
    def at_study(self) -> str:
        """Path of the study."""
        return f"/studies/{self.study}"

    @property
    def at_series(self) -> str:
        """Path of the series."""
        return f"{self.at_study}/series/{self.series}"

    @property
    def at_instance(self) -> str:
        """Path of the first instance."""
        return f"{self.at_series}/instances/{self.instances[0]}"

    @property
    def patient_id(self) -> str:
        """PatientID, of a study of our making."""
        return f"RADLOOP-CONFORM-{self.token}"


def _token() -> str:
    return uuid.uuid4().hex[:6].upper()


@dataclass(slots=True)
class Session:
    """One run against one server.

    Attributes:
        server: Which.
        only_reads: Store nothing; look at a study that is found there.
    """

    server: Server
    only_reads: bool = False
    token: str = field(default_factory=_token)
    _held: dict[str, Held | str] = field(default_factory=dict)
    stored_studies: list[str] = field(default_factory=list)

    def get(self, path: str, accept: str | None = JSON, *headers: tuple[str, str]) -> Answer:
        """GET; see `Server.get`."""
        return self.server.get(path, accept, headers)

    def stow(self, *specimens: Specimen, to: str = "/studies") -> Answer:
        """Send instances in one multipart request."""
        self.note(*specimens)
        return self.server.post(to, multipart(specimen.data for specimen in specimens))

    def note(self, *specimens: Specimen) -> None:
        """Remember what was sent, so that it can be cleaned away."""
        self.stored_studies += {specimen.study for specimen in specimens} - set(self.stored_studies)

    def study(self, name: str = "", **facts: Any) -> Study:
        """A new study of this run; names of patients differ between studies of a run and between runs."""
        return Study(token=f"{self.token}{uuid.uuid4().hex[:8].upper()}", name=name, **facts)

    def held(self, key: str, make: Callable[[Study], list[Specimen]], **facts: Any) -> Held:
        """Instances that are stored once and then shared by all checks that name them.

        Raises:
            NotTested: The server does not take them.
        """
        if key not in self._held:
            study = self.study(**facts)
            specimens = make(study)
            answer = self.stow(*specimens)
            if answer.status in {200, 202} and "00081199" in answer.json():
                self._held[key] = Held(
                    token=study.token,
                    study=study.uid,
                    series=study.series,
                    instances=tuple(specimen.instance for specimen in specimens),
                    frame_count=max(len(specimens[0].frames), 1),
                    specimens=tuple(specimens),
                )
            else:
                self._held[key] = f"the server did not take the specimen ({answer.status})"
        found = self._held[key]
        if isinstance(found, str):
            raise NotTested(found)
        return found

    def found_there(self) -> Held:
        """An image that is on the server, not of our making.

        Raises:
            NotTested: QIDO finds none.
        """
        if "" not in self._held:
            self._held[""] = self._look() or "no image is found on the server"
        found = self._held[""]
        if isinstance(found, str):
            raise NotTested(found)
        return found

    def _look(self) -> Held | None:
        try:
            for study in self.get("/studies?limit=5").rows():
                at_study = f"/studies/{first(study, '0020000D')}"
                for series in self.get(f"{at_study}/series?limit=5").rows():
                    at_series = f"{at_study}/series/{first(series, '0020000E')}"
                    rows = self.get(f"{at_series}/instances?limit=20").rows()
                    images = [row for row in rows if first(row, "00280010")]
                    if images:
                        return Held(
                            token="",
                            study=str(first(study, "0020000D")),
                            series=str(first(series, "0020000E")),
                            instances=tuple(str(first(row, "00080018")) for row in images),
                            frame_count=int(first(images[0], "00280008") or 1),
                        )
        except Differs as error:
            raise NotTested(f"QIDO finds no image: {error}") from None
        return None


def first(row: Row, tag: str) -> Any:
    """First value of an element, or None."""
    values = row.get(tag, {}).get("Value") or [None]
    return values[0]


def values(row: Row, tag: str) -> list[Any]:
    """All values of an element."""
    found = row.get(tag, {}).get("Value")
    return found if isinstance(found, list) else []


def named(answer: Answer, sequence: str) -> set[str]:
    """ReferencedSOPInstanceUIDs in a sequence of a STOW answer: `00081199` was stored, `00081198` failed."""
    report = answer.json()
    items = values(report, sequence) if isinstance(report, dict) else []
    return {str(first(item, "00081155") or "") for item in items}
