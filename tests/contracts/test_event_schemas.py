"""Every event of the catalogue has a schema that agrees with it, and none has room for a patient."""

import dataclasses
import json
import re
import types
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from radloop.core import events
from radloop.core.events import CATALOGUE, Happening
from radloop.core.images import SITES, Confidence

FOLDER = Path(__file__).parents[2] / "contracts" / "events"
ID = "0" * 32
SNAPSHOT = "a" * 64
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

EXAMPLES: tuple[Happening, ...] = (
    events.DicomUploaded(key=f"training-data/uploaded/{ID}"),
    events.ImageIngested(image_set=ID, version=1, modality="CT", instances=120, frames=120),
    events.StudyReceived(study=ID, version=1, image_sets=2, instances=120),
    events.ImageFolded(image_set=ID, version=1, folded=120, kept=0, original_bytes=9, stored_bytes=4),
    events.ImageQuarantined(quarantine_id=ID, reason="not-dicom"),
    events.ImageVerified(
        image_set=ID,
        version=2,
        finding="present",
        site="RLL",
        confidence=Confidence.HIGH,
        verified_by="u1",
        frames_full=35,
        frames_preview=80,
        frames_never=5,
        reads=3,
        posterior=0.97,
        rule="posterior",
    ),
    events.AdjudicationRequested(image_set=ID, version=1, reason="disagreement", reads=2),
    events.RetrainingDeferred(snapshot=SNAPSHOT, reason="too-few-verified"),
    events.PipelineTriggered(execution=ID, snapshot=SNAPSHOT, studies=18),
    events.PipelineStepEnded(execution=ID, step="Evaluate", type="Processing", status="Succeeded"),
    events.PipelineEnded(execution=ID, status="Failed", reason="out-of-memory"),
    events.ModelEvaluationPassed(execution=ID, accuracy=0.91, threshold=0.85, recommendation="APPROVE"),
    events.ModelEvaluationFailed(execution=ID, accuracy=0.5, threshold=0.85, rules=("accuracy",)),
    events.ModelRegistered(model_version=1, execution=ID),
    events.ModelApproved(model_version=1, execution=ID, approved_by="policy"),
    events.ReleaseHeld(model_version=1, execution=ID, reasons=("plan-missing", "too-few-new-patients")),
    events.ModelRolledBack(model_version=2, serving_version=1, reason="drift", rolled_back_by="u1", entry=9),
    events.AlarmStateChanged(alarm="dead-letter-pipeline_trigger", state="ALARM", cause=f"{ID}-RetrainAgain: conflict"),
)

SMELLS_OF_PATIENT = re.compile(
    r"patient|name|birth|sex|age$|mrn|accession|address|phone|mail|note|comment|text|_uid|physician|institution",
    re.IGNORECASE,
)


def schema_of(kind: type[Happening]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / f"{kind.__name__}.json").read_text())
    return schema


def as_sent(happening: Happening) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(json.dumps(happening.told(at=NOW).as_json()))
    return sent


def test_there_is_one_schema_an_event_and_none_without() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {kind.__name__ for kind in CATALOGUE} | {
        "rules",
        "aws-rules",
    }


def test_there_is_an_example_of_every_event() -> None:
    assert {type(example) for example in EXAMPLES} == set(CATALOGUE)


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.__name__)
def test_a_schema_agrees_with_its_class(kind: type[Happening]) -> None:
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}
    optional = {name for name in fields if isinstance(hints[name], types.UnionType)}
    detail = schema["properties"]["detail"]
    assert set(detail["properties"]) == fields
    assert set(detail["required"]) == fields - optional
    assert schema["properties"]["source"] == {"const": kind.source}
    assert schema["properties"]["detail-type"] == {"const": kind.__name__}
    assert schema["additionalProperties"] is detail["additionalProperties"] is False


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_an_event_as_sent_validates_and_nothing_can_be_added_to_it(example: Happening) -> None:
    validator = Draft202012Validator(schema_of(type(example)))
    sent = as_sent(example)
    validator.validate(sent)
    with pytest.raises(ValidationError):
        validator.validate({**sent, "detail": {**sent["detail"], "patient_name": "x"}})
    for name in sent["detail"].keys() & set(schema_of(type(example))["properties"]["detail"]["required"]):
        with pytest.raises(ValidationError):
            validator.validate({**sent, "detail": {key: at for key, at in sent["detail"].items() if key != name}})


def test_a_verification_without_a_site_validates() -> None:
    example = events.ImageVerified(ID, 2, "absent", None, "low", "u1")
    Draft202012Validator(schema_of(events.ImageVerified)).validate(as_sent(example))


def test_sites_are_the_ones_readers_choose_from() -> None:
    detail = schema_of(events.ImageVerified)["properties"]["detail"]["properties"]
    assert detail["site"]["enum"] == list(SITES)
    assert detail["confidence"]["enum"] == [str(one) for one in Confidence]


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.__name__)
def test_no_property_smells_of_a_patient_and_no_string_is_free(kind: type[Happening]) -> None:
    properties = schema_of(kind)["properties"]["detail"]["properties"]
    assert [name for name in properties if SMELLS_OF_PATIENT.search(name)] == []
    free = [name for name, at in properties.items() if at.get("type") == "string" and "pattern" not in at]
    assert free == []


def test_the_nose_works() -> None:
    assert SMELLS_OF_PATIENT.search("patient_id")
    assert SMELLS_OF_PATIENT.search("study_uid")
    assert not SMELLS_OF_PATIENT.search("image_set")
