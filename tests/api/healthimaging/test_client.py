"""Our own client library, against a server by its plain name, by its `runtime-` twin, and beside DICOMweb."""

import io
import socket
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from radloop.core.errors import ChecksumMismatch, InvalidInput
from radloop.healthimaging import Frame, HealthImaging, pixels_of
from tests.api.healthimaging.conftest import Imaging
from tests.store.house import phantom


class Contract:
    """What the client does, whatever name its server has."""

    @pytest.fixture
    def client(self, imaging: Imaging, datastore: str) -> HealthImaging:
        raise NotImplementedError

    def test_a_search_finds_by_each_condition(self, client: HealthImaging, imaging: Imaging, datastore: str) -> None:
        identity = imaging.one_set(datastore, *phantom())
        (found,) = client.search()
        assert (found.id, found.version, found.is_primary) == (identity, 1, True)
        tags = found.tags
        assert [each.id for each in client.search(patient_id=tags["PatientId"], is_primary=True)] == [identity]
        assert list(client.search(study_uid="1.2.3")) == []
        assert len(list(client.search(series_uid=tags["SeriesInstanceUID"]))) == 1
        day = datetime.strptime(tags["StudyDate"], "%Y%m%d").replace(tzinfo=UTC).date()
        assert len(list(client.search(studied=(day, day)))) == 1
        assert list(client.search(studied=(date(1900, 1, 1), day - timedelta(days=1)))) == []
        now = datetime.now(UTC)
        assert len(list(client.search(updated=(now - timedelta(hours=1), now)))) == 1
        with pytest.raises(InvalidInput):
            list(client.search(patient_id="a", study_id="b", study_uid="1"))

    def test_pixels_are_those_of_the_files(self, client: HealthImaging, imaging: Imaging, datastore: str) -> None:
        identity = imaging.one_set(datastore, *phantom())
        metadata = client.metadata(identity)
        originals = {str(each.SOPInstanceUID): each for each in map(read, phantom())}
        for pixels, instance in zip(client.to_numpy(metadata), metadata.instances, strict=True):
            assert np.array_equal(pixels, originals[instance.sop_uid].pixel_array)

    def test_files_come_back_with_the_same_attributes_and_pixels(
        self, client: HealthImaging, imaging: Imaging, datastore: str
    ) -> None:
        identity = imaging.one_set(datastore, *phantom())
        rebuilt = {str(each.SOPInstanceUID): each for each in map(read, client.to_part10(identity))}
        assert rebuilt == {str(each.SOPInstanceUID): each for each in map(read, phantom())}

    def test_frames_come_in_order(self, client: HealthImaging, imaging: Imaging, datastore: str) -> None:
        identity = imaging.one_set(datastore, *phantom(1, slices=40))
        metadata = client.metadata(identity)
        frames = list(client.frames(identity))
        assert [frame.id for frame in frames] == [frame.id for frame in metadata.frames]
        assert {frame.content_type for frame in frames} == {"image/jph"}
        backwards = [frame.id for frame in reversed(metadata.frames)]
        assert [frame.id for frame in client.frames(identity, backwards)] == backwards

    def test_what_is_presigned_works_once_handed_over(
        self, client: HealthImaging, imaging: Imaging, datastore: str
    ) -> None:
        identity = imaging.one_set(datastore, *phantom())
        (frame, *_) = client.metadata(identity).frames
        request = client.presigned_frame(identity, frame.id)
        told = httpx.request(request.method, request.url, content=request.body)
        assert told.status_code == 200
        assert told.content == client.frame(identity, frame.id).data
        request = client.presigned_metadata(identity)
        assert httpx.request(request.method, request.url).headers["content-encoding"] == "gzip"


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


class TestByPlainName(Contract):
    @pytest.fixture
    def client(self, imaging: Imaging, datastore: str) -> HealthImaging:
        return HealthImaging(datastore, endpoint=imaging.url, access_key="a", secret_key="b")

    def test_pixels_that_are_not_those_of_the_metadata_are_refused(
        self, client: HealthImaging, imaging: Imaging, datastore: str
    ) -> None:
        identity = imaging.one_set(datastore, *phantom())
        first, second, *_ = client.metadata(identity).instances
        frame = client.frame(identity, second.frames[0].id)
        with pytest.raises(ChecksumMismatch):
            pixels_of(Frame(first.frames[0].id, frame.data, frame.content_type), first, first.frames[0])

    def test_the_same_data_store_speaks_dicomweb(self, client: HealthImaging, imaging: Imaging, datastore: str) -> None:
        imaging.one_set(datastore, *phantom())
        (found,) = client.search()
        (study,) = DICOMwebClient(client.dicomweb_url).search_for_studies()
        assert study["0020000D"]["Value"] == [found.tags["StudyInstanceUID"]]


class TestByRuntimeName(Contract):
    @pytest.fixture
    def client(self, imaging: Imaging, datastore: str, monkeypatch: pytest.MonkeyPatch) -> HealthImaging:
        resolve = socket.getaddrinfo

        def known(host: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            return resolve("127.0.0.1" if name.endswith("ahi.test") else host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", known)
        url = imaging.url.replace("127.0.0.1", "ahi.test")
        return HealthImaging(datastore, endpoint=url, access_key="a", secret_key="b", runtime_host=True)


def test_the_example_of_the_handbook_runs(imaging: Imaging, datastore: str, tmp_path: Path) -> None:
    import re

    page = (Path(__file__).parents[3] / "docs" / "healthimaging.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page.split("## The client library")[1], re.DOTALL)
    imaging.one_set(datastore, *phantom())
    (patient,) = {str(read(data).PatientID) for data in phantom()}
    names = {
        "http://127.0.0.1:8080": imaging.url,
        "5y6rw0vz6jku5uojzb5fysx3y46i90ta": datastore,
        "PHANTOM-00001": patient,
        "rebuilt/": f"{tmp_path}/",
    }
    for told, here in names.items():
        assert told in example, told
        example = example.replace(told, here)
    known: dict[str, Any] = {}
    exec(compile(example, "docs/healthimaging.md", "exec"), known)
    assert known["volume"].shape == (4, 64, 64)
    assert len(list(tmp_path.iterdir())) == 4
