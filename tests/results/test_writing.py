import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from radloop.core.errors import Conflict, InvalidInput
from radloop.core.identity import OWNER
from radloop.core.images import State
from radloop.core.ports import Change, Put
from radloop.core.reads import Rule
from radloop.core.tables import SALIENCY
from radloop.dicom.make import xray_instance
from radloop.dicom.parse import parse
from radloop.dicom.report import Device
from radloop.reading.opinion import keep_prediction
from radloop.reading.priors import priors
from radloop.reading.worklist import worklist
from radloop.results.account import account_of
from radloop.results.writing import AiResult, keep_provenance, write_result
from tests.api.installation import Installation
from tests.results.cases import (
    REFUSED,
    RESULT,
    WEIGHTS,
    bytes_of,
    every_instance,
    file_of,
    finding,
    key_slice,
    label,
    several_readers,
    verified,
)
from tests.results.test_reports import coded, groups, name, numbers


def written(installation: Installation, identity: str, result: AiResult = RESULT, **options: object) -> tuple[str, ...]:
    picture = options.get("picture", key_slice())
    return write_result(installation.platform, installation.images.get(identity), result, picture, by=OWNER)


def made_sets(installation: Installation, sop_uids: tuple[str, ...]) -> list[str]:
    """Ids of the image sets the results lie in, closed."""
    found = [each.image_set for each in every_instance(installation) if each.sop_uid in sop_uids]
    for identity in found:
        installation.images.complete(identity, by=OWNER)
    return found


def test_a_result_is_a_report_and_a_picture_in_the_study(installation: Installation) -> None:
    identity = installation.land()
    uids = written(installation, identity)
    report, capture = (file_of(installation, uid) for uid in uids)
    image_set = installation.images.get(identity)
    for made in (report, capture):
        assert (made.PatientID, made.StudyInstanceUID) == (image_set.patient_id, image_set.study_uid)
        assert made.SeriesInstanceUID != image_set.series_uid
        assert made.ManufacturerModelName == "radloop AI result"
        assert "not verified" in made.SeriesDescription
    assert (report.Modality, capture.Modality) == ("SR", "OT")
    assert report.SeriesInstanceUID != capture.SeriesInstanceUID


def test_the_report_says_which_model_said_what_and_that_nobody_verified_it(installation: Installation) -> None:
    identity = installation.land()
    report = file_of(installation, written(installation, identity)[0])
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (group,) = groups(report)
    assert coded(group, "233604007") == [("SCT", "52101004")]
    assert coded(group, "outside") == [("SCT", "373067005")]
    assert numbers(group, "122157") == [0.8712]
    assert numbers(group, "threshold") == [0.42]
    texts = {name(item): str(item.TextValue) for item in group.ContentSequence if item.ValueType == "TEXT"}
    assert texts["111003"] == "version 3"
    assert "not verified, not for diagnosis" in texts["notice"]
    parameters = [str(i.TextValue) for i in group.ContentSequence if name(i) == "111002"]
    assert parameters == [f"weights SHA-256 {WEIGHTS}", "threshold 0.42"]
    (family,) = [item for item in group.ContentSequence if name(item) == "111000"]
    assert family.ConceptCodeSequence[0].CodeValue == "123110", "artificial intelligence"
    observers = [item.ConceptCodeSequence[0].CodeValue for item in report.ContentSequence if name(item) == "121005"]
    assert observers == ["121007"], "a device and nobody else"
    (key,) = [item for item in group.ContentSequence if item.ValueType == "IMAGE"]
    second = installation.images.instances(identity)[1].sop_uid
    assert key.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == second


def test_the_picture_is_rgb_with_its_words_burned_in(installation: Installation) -> None:
    identity = installation.land()
    capture = file_of(installation, written(installation, identity)[1])
    assert capture.BurnedInAnnotation == "YES"
    assert (capture.PhotometricInterpretation, capture.SamplesPerPixel, capture.BitsAllocated) == ("RGB", 3, 8)
    assert capture.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    (source,) = capture.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == installation.images.instances(identity)[1].sop_uid
    assert capture.pixel_array.shape == (capture.Rows, capture.Columns, 3)
    assert not re.search(
        rb"PHANTOM", bytes_of(installation, capture.SOPInstanceUID)[-capture.Rows * capture.Columns * 3 :]
    )


def test_our_own_parser_has_nothing_to_say_against_what_we_write(installation: Installation) -> None:
    identity = installation.land()
    for uid in written(installation, identity):
        assert parse(bytes_of(installation, uid)).warnings == ()


def test_writing_the_same_result_twice_is_one_object_even_later(installation: Installation) -> None:
    identity = installation.land()
    first = written(installation, identity)
    again = written(installation, identity, replace(RESULT, at=RESULT.at + timedelta(hours=2)))
    assert again == first
    assert sum(each.sop_uid in first for each in every_instance(installation)) == 2


def test_another_version_of_the_model_writes_beside_the_first(installation: Installation) -> None:
    identity = installation.land()
    first = written(installation, identity)
    second = written(installation, identity, replace(RESULT, model_version=4))
    assert not set(first) & set(second)
    reports = [file_of(installation, uid) for uid in (first[0], second[0])]
    assert reports[0].SeriesInstanceUID == reports[1].SeriesInstanceUID
    assert [each.InstanceNumber for each in reports] == [3, 4]


def test_a_refusal_has_no_probability_no_finding_and_no_picture(installation: Installation) -> None:
    identity = installation.land()
    (uid,) = written(installation, identity, REFUSED)
    (group,) = groups(file_of(installation, uid))
    assert coded(group, "233604007") == [("DCM", "121059")]
    assert coded(group, "outside") == [("SCT", "373066001")]
    assert numbers(group, "122157") == []
    assert [str(item.TextValue) for item in group.ContentSequence if name(item) == "reason"] == ["out-of-distribution"]


# What a model made is no work


def test_what_a_model_made_is_never_work_from_its_first_moment(installation: Installation) -> None:
    identity = installation.land()
    uids = written(installation, identity)
    for is_closed in (False, True):
        if is_closed:
            made_sets(installation, uids)
        page = worklist(installation.platform.records, state=State.INGESTED, with_images=True)
        assert [each.id for each in page.items] == [identity], f"closed: {is_closed}"
        assert page.reports == 2
    image_set = installation.images.get(identity)
    assert priors(installation.platform.records, image_set) == ()
    assert not image_set.made_by_ai


def test_what_a_model_made_cannot_be_verified(installation: Installation) -> None:
    identity = installation.land()
    for made in made_sets(installation, written(installation, identity)):
        assert installation.images.get(made).made_by_ai
        with pytest.raises(Conflict, match="made by a model"):
            installation.images.get(made).verify(finding(False), version=1, by="reader", at=RESULT.at)


def test_no_model_looks_at_what_a_model_made(installation: Installation) -> None:
    identity = installation.land()
    made = made_sets(installation, written(installation, identity))
    with pytest.raises(Conflict, match="made by a model"):
        written(installation, made[1], picture=key_slice(0))


def test_a_picture_of_a_model_folds_like_any_other(installation: Installation) -> None:
    identity = installation.land()
    uids = written(installation, identity)
    (capture,) = [each for each in made_sets(installation, uids) if installation.images.get(each).frames]
    before = bytes_of(installation, uids[1])
    assert str(installation.images.fold(capture).storage) == "folded"
    assert bytes_of(installation, uids[1]) == before


# When nothing is written


def test_nothing_is_written_while_readers_must_not_learn_of_it(installation: Installation) -> None:
    identity = installation.land()
    several_readers(installation, identity)
    assert written(installation, identity) == ()
    label(installation, identity, "reader-a", finding(True), Rule.AGREEMENT, minutes=0)
    assert len(written(installation, identity)) == 2


def test_an_image_set_that_is_still_arriving_gets_no_result(installation: Installation) -> None:
    identity = installation.land(closed=False)
    with pytest.raises(Conflict, match="still arriving"):
        written(installation, identity)


def test_a_frame_that_is_not_there_is_refused(installation: Installation) -> None:
    identity = installation.land()
    with pytest.raises(InvalidInput, match="no such image"):
        written(installation, identity, picture=key_slice(99))


@pytest.mark.parametrize(
    "wrong",
    [{"probability": 1.5}, {"probability": None}, {"finding": None}],
    ids=["beyond one", "finding without probability", "probability without finding"],
)
def test_a_result_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        replace(RESULT, **wrong)


def test_an_x_ray_from_a_picture_gets_a_result_too(installation: Installation) -> None:
    from radloop.core.ports import Upload
    from radloop.functions.image_ingestion import ingest

    pixels = (np.arange(96 * 64).reshape(96, 64) % 251).astype(np.uint8)
    file = xray_instance(pixels, patient_id="P-1", study_date="20240229", patient_sex="F", was_lossy=True)
    (landing,) = ingest([Upload(file)], installation.platform, by=OWNER)
    assert landing.image_set is not None
    installation.images.complete(landing.image_set, by=OWNER)
    report, capture = (
        file_of(installation, uid) for uid in written(installation, landing.image_set, picture=key_slice(0, (96, 64)))
    )
    assert capture.LossyImageCompression == "01"
    assert report.PatientSex == "F"
    assert [i.ConceptCodeSequence[0].CodeMeaning for i in report.ContentSequence if name(i) == "121058"] == [
        "Plain chest X-ray"
    ]


def test_what_a_model_made_is_not_learned_from(installation: Installation) -> None:
    identity = installation.land()
    made_sets(installation, written(installation, identity))
    verified(installation, identity)
    counts = worklist(installation.platform.records).counts
    assert counts[State.VERIFIED] == 1, "the scan alone"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_finds_no_error_in_what_we_write(installation: Installation, tmp_path: Path) -> None:
    identity = installation.land()
    made = [*written(installation, identity), *written(installation, identity, replace(REFUSED, model_version=4))]
    verified(installation, identity)
    made.append(keep_provenance(installation.platform, installation.images.get(identity), by=OWNER))
    for number, uid in enumerate(made):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(bytes_of(installation, uid))
        told = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False).stderr
        assert not [line for line in told.splitlines() if line.startswith("Error")], told


def test_a_prediction_and_what_is_written_of_it_name_the_same_device(installation: Installation) -> None:
    identity = installation.land()
    model = installation.approve(bias=1.0)
    image_set = installation.images.get(identity)
    kept = {"probability": 0.8, "finding": "present", "threshold": 0.4, "model_version": model.version, "frame": 2}
    keep_prediction(installation.platform.records, identity, kept, version=1, by=OWNER)
    noted = {"version": 1, "model_version": model.version, "weights_sha256": WEIGHTS, "maps": None}
    installation.platform.records.commit(Change(writes=[Put(SALIENCY, identity, noted)]))
    (word,) = account_of(
        installation.platform.records, installation.platform.models, installation.images.get(identity)
    ).words
    uids = write_result(installation.platform, image_set, replace(RESULT, model_version=model.version), None, by=OWNER)
    (device,) = [i for i in file_of(installation, uids[0]).ContentSequence if name(i) == "121012"]
    assert word.observer == Device(device.UID, "radloop pneumonia model", f"version {model.version}", WEIGHTS)
    assert word.frame == 2
    assert len(uids) == 1, "no picture where there is none to draw"
