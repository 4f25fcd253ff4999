"""Phantom studies: legal files, the same bytes every time, and a label that whole-image statistics do not tell."""

import io
import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from radloop.core.datasets import Split, split_of
from radloop.dicom.phantom import PhantomStudy, phantom_cohort, phantom_study


def headers_of(study: PhantomStudy) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(io.BytesIO(data)) for data in study.files]


def volume_of(study: PhantomStudy) -> npt.NDArray[np.float32]:
    """float32 (slices, rows, columns), HU, foot to head."""
    slices = sorted(headers_of(study), key=lambda header: float(header.ImagePositionPatient[2]))
    return np.stack([s.pixel_array * np.float32(s.RescaleSlope) + np.float32(s.RescaleIntercept) for s in slices])


def trivial_features(volume_hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """15 statistics of the whole image that know nothing of anatomy."""
    share = np.histogram(volume_hu, 64, (-1100, 900))[0] / volume_hu.size
    share = share[share > 0]
    down, right = np.diff(volume_hu, axis=1), np.diff(volume_hu, axis=2)
    return np.array(
        [
            volume_hu.mean(),
            volume_hu.std(),
            volume_hu.min(),
            volume_hu.max(),
            *np.percentile(volume_hu, (1, 5, 25, 50, 75, 95, 99)),
            -(share * np.log(share)).sum(),
            np.abs(right).mean(),
            np.abs(down).mean(),
            (right**2).mean(),
        ]
    )


def test_the_same_arguments_give_the_same_bytes() -> None:
    first, again = (phantom_study(3, consolidated=True, slices=3, size=48) for _ in range(2))
    assert first == again
    assert first.files != phantom_study(3, consolidated=True, slices=3, size=48, seed=8).files


def test_every_slice_is_a_whole_part_10_ct_image() -> None:
    study = phantom_study(42, consolidated=False, slices=5, size=64)
    for instance, header in enumerate(headers_of(study), start=1):
        assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert header.SOPClassUID == header.file_meta.MediaStorageSOPClassUID == CTImageStorage
        assert header.SOPInstanceUID == header.file_meta.MediaStorageSOPInstanceUID
        assert header.PatientID == study.patient_id == "PHANTOM-00042"
        assert header.PatientName == "Phantom^00042"
        assert (header.StudyInstanceUID, header.SeriesInstanceUID) == (study.study_uid, study.series_uid)
        assert header.InstanceNumber == instance
        assert (header.Rows, header.Columns) == (64, 64)
        assert len(header.PixelData) == 64 * 64 * 2
        assert header.BodyPartExamined == "CHEST"


def test_every_uid_is_legal_and_every_instance_has_its_own() -> None:
    headers = headers_of(phantom_study(7, consolidated=True, slices=6, size=32))
    uids = [header.SOPInstanceUID for header in headers]
    assert len(set(uids)) == 6
    every = {*uids, headers[0].StudyInstanceUID, headers[0].SeriesInstanceUID, headers[0].FrameOfReferenceUID}
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in every)


def test_slices_lie_evenly_and_their_spacing_is_what_the_header_says() -> None:
    headers = headers_of(phantom_study(9, consolidated=False, slices=8, size=32))
    heights = sorted(float(header.ImagePositionPatient[2]) for header in headers)
    assert np.diff(heights) == pytest.approx(float(headers[0].SpacingBetweenSlices), abs=1e-4)


def test_scanners_differ_in_what_they_store() -> None:
    seen = {
        (h.Manufacturer, int(h.PixelRepresentation), int(h.RescaleIntercept))
        for number in range(12)
        for h in headers_of(phantom_study(number, consolidated=False, slices=1, size=32))
    }
    assert len({manufacturer for manufacturer, _, _ in seen}) == 3
    assert {signed for _, signed, _ in seen} == {0, 1}


def test_a_consolidation_changes_the_lung_and_nothing_else() -> None:
    ill, well = (volume_of(phantom_study(5, consolidated=state, slices=12, size=128)) for state in (True, False))
    changed = np.abs(ill - well) > 1
    assert 0.003 < changed.mean() < 0.15
    assert np.median(well[changed]) < -600, "it lies where there was air"
    assert np.mean(ill[changed]) > np.mean(well[changed]) + 150


def test_a_consolidation_shows_in_several_neighbouring_slices() -> None:
    for number in range(6):
        ill, well = (
            volume_of(phantom_study(number, consolidated=state, slices=16, size=64)) for state in (True, False)
        )
        slices = np.flatnonzero((np.abs(ill - well) > 150).mean(axis=(1, 2)) > 0.002)
        assert len(slices) >= 3
        assert np.diff(slices).max() == 1


def test_lungs_are_air_and_bodies_are_not() -> None:
    middle = volume_of(phantom_study(1, consolidated=False, slices=8, size=128))[4]
    body = middle[32:96, 32:96]
    assert -1000 < np.percentile(body, 5) < -650
    assert np.percentile(body, 95) > 0


def test_neighbouring_slices_of_a_thin_stack_continue_each_other() -> None:
    volume = volume_of(phantom_study(2, consolidated=True, slices=120, size=64))
    near = np.corrcoef(volume[60].ravel(), volume[61].ravel())[0, 1]
    far = np.corrcoef(volume[60].ravel(), volume[100].ravel())[0, 1]
    assert near > 0.98
    assert near > far


def test_a_cohort_fills_every_part_with_both_classes_and_no_patient_twice() -> None:
    quota = {Split.TRAIN: 4, Split.VALIDATION: 2, Split.TEST: 3}
    studies = list(phantom_cohort(per_class=quota, slices=1, size=32))
    found = Counter((split_of(study.patient_id), study.label) for study in studies)
    assert found == {(split, label): quota[split] for split in Split for label in (0, 1)}
    assert len({study.patient_id for study in studies}) == len(studies)
    assert all((study.site is None) == (study.label == 0) for study in studies)


def test_arguments_out_of_range_are_refused() -> None:
    for wrong in ({"number": -1}, {"number": 1, "slices": 0}, {"number": 1, "size": 4}):
        with pytest.raises(ValueError, match="a phantom needs"):
            phantom_study(**{"consolidated": False, **wrong})


@pytest.mark.slow
def test_a_study_is_made_in_a_quarter_of_a_second() -> None:
    phantom_study(0, consolidated=True)
    start = time.process_time()
    for number in range(1, 7):
        phantom_study(number, consolidated=True)
    assert (time.process_time() - start) / 6 < 0.25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_whole_image_statistics_do_not_tell_the_label() -> None:
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    quota = {Split.TRAIN: 36, Split.VALIDATION: 0, Split.TEST: 40}
    rows: dict[Split, list[tuple[npt.NDArray[np.float64], int]]] = {split: [] for split in Split}
    for study in phantom_cohort(per_class=quota):
        rows[split_of(study.patient_id)].append((trivial_features(volume_of(study)), study.label))
    features = {split: np.array([row for row, _ in found]) for split, found in rows.items()}
    labels = {split: np.array([label for _, label in found]) for split, found in rows.items()}
    assert len(labels[Split.TEST]) == 80
    for model in (
        GradientBoostingClassifier(random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    ):
        model.fit(features[Split.TRAIN], labels[Split.TRAIN])
        area = roc_auc_score(labels[Split.TEST], model.predict_proba(features[Split.TEST])[:, 1])
        assert area < 0.75
