"""Reads, adjudication and agreement through the doors, and that nobody is told what they are blinded for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from radloop.core.identity import OWNER, Principal
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.reading.opinion import keep_prediction
from tests.api.installation import OTHER, PHANTOM, Installation, TestClient, open_installation

API = "/api/v1"
WORD = {"version": 1, "confidence": "high", "seen": {"frame": 0, "quality": "lossless"}}
PRESENT = {**WORD, "finding": "present", "site": "RLL", "note": "Doe, Jane, seen in the ward"}
ABSENT = {**WORD, "finding": "absent"}
MARK = 0.8642


@dataclass(frozen=True)
class House:
    """An installation where everybody is somebody."""

    installation: Installation
    client: TestClient

    def ask(self, who: str, method: str, path: str, body: Any = None, role: str = "verifier") -> Any:
        """The answer to somebody with a role, sent as JSON."""
        identities = self.installation.doors.identities
        assert identities is not None
        identities.trust(f"{who} {role}", Principal(who, frozenset(role.split())))
        headers = {"Authorization": f"Bearer {who} {role}"}
        options = {} if body is None else {"json": body}
        return self.client.request(
            method, path if path.startswith("/") else f"{API}/{path}", headers=headers, **options
        )

    def say(self, who: str, identity: str, body: Any, status: int = 200) -> Any:
        answer = self.ask(who, "POST", f"image-sets/{identity}/reads", body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def under(self, policy: str) -> None:
        answer = self.ask("boss", "PUT", f"projects/{DEFAULT_DATASTORE}", {"policy": policy}, "admin")
        assert answer.status_code == 200, answer.text

    def events(self) -> str:
        return self.ask("m", "GET", "events?limit=1000", role="ml").text


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_installation(tmp_path) as installation:
        closed = replace(installation, doors=replace(installation.doors, is_open=False))
        with closed.client() as client:
            yield House(closed, client)


def predicted(house: House, identity: str) -> None:
    told = {"probability": MARK, "finding": "present", "model_version": 1, "threshold": 0.5, "frames": []}
    keep_prediction(house.installation.platform.records, identity, told, version=1, by=OWNER)


# Blinding


def doors_of(identity: str, prior: str) -> list[tuple[str, str]]:
    """Every door through which an image set, or something of it, is told to somebody."""
    return [
        ("GET", f"image-sets/{identity}"),
        ("GET", f"image-sets/{prior}/priors"),
        ("GET", "worklist"),
        ("GET", "worklist?state=INGESTED&images=1"),
        ("GET", "worklist?order=value"),
        ("GET", "worklist?order=value&mine=1"),
        ("GET", f"image-sets/{identity}/reads"),
        ("GET", f"image-sets/{identity}/labels"),
        ("GET", f"image-sets/{identity}/provenance?format=fhir"),
        ("POST", f"image-sets/{identity}/complete"),
        ("GET", f"/stream/v1/{identity}/index"),
        ("GET", "events?limit=1000"),
        ("GET", f"/dicomweb/studies/{PHANTOM.study_uid}/metadata"),
    ]


def plain(answer: Any) -> str:
    """What an answer tells, unpacked."""
    return (
        answer.text
        if answer.headers["content-type"].startswith(("application/json", "application/dicom"))
        else (answer.content.decode("latin-1"))
    )


@pytest.mark.parametrize("policy", ["double", "double-adjudicated"])
def test_no_door_tells_what_others_or_a_model_said_before_one_has_read(house: House, policy: str) -> None:
    house.under(policy)
    identity, other = house.installation.land(), house.installation.land(OTHER)
    predicted(house, identity)
    house.say("anna", identity, PRESENT)
    everybody = "verifier adjudicator admin auditor ml reader"
    for method, path in doors_of(identity, other):
        answer = house.ask("boris", method, path, role=everybody)
        is_told_nothing = "provenance" in path and answer.status_code == 404
        assert answer.status_code == 200 or is_told_nothing, f"{path}: {answer.text}"
        text = plain(answer)
        for secret in (str(MARK), "RLL", "anna", "Doe, Jane"):
            assert secret not in text, f"{method} {path} tells {secret}"
    for method, path, body in (
        ("POST", "predictions", {"image_set": identity}),
        ("GET", f"image-sets/{identity}/saliency/0.png", None),
    ):
        refused = house.ask("boris", method, path, body, everybody)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "blinded"), path
    assert house.ask("clara", "GET", "adjudication", role="adjudicator").json()["items"] == []


def test_a_signed_link_sees_with_the_eyes_of_its_maker(house: House) -> None:
    house.under("double")
    identity = house.installation.land(folded=True)
    predicted(house, identity)
    house.say("anna", identity, PRESENT)
    tells = {}
    for who in ("anna", "boris"):
        index = house.ask(who, "GET", f"/stream/v1/{identity}/index")
        tells[who] = str(MARK) in plain(index)
    again = house.ask("anna", "GET", f"/stream/v1/{identity}/index")
    assert tells == {"anna": True, "boris": False}, "and neither is given what was made for the other"
    assert str(MARK) in plain(again)


def test_after_ones_own_read_one_is_told_of_the_others(house: House) -> None:
    house.under("double-adjudicated")
    identity = house.installation.land()
    predicted(house, identity)
    house.say("anna", identity, PRESENT)
    told = house.say("boris", identity, ABSENT)
    assert told["prediction"]["probability"] == MARK
    assert told["reading"] == {
        "policy": "double-adjudicated",
        "state": "adjudication",
        "given": 2,
        "needed": None,
        "mine": True,
        "blinded": False,
    }
    reads = house.ask("boris", "GET", f"image-sets/{identity}/reads").json()
    assert [(read["reader"], read["finding"], read["mine"]) for read in reads["items"]] == [
        ("anna", "present", False),
        ("boris", "absent", True),
    ]
    assert 0 < reads["posterior"] < 1


def test_before_that_one_is_told_ones_own_word_alone(house: House) -> None:
    house.under("double")
    identity = house.installation.land()
    assert house.ask("boris", "GET", f"image-sets/{identity}/reads").json()["items"] == []
    house.say("anna", identity, PRESENT)
    told = house.ask("boris", "GET", f"image-sets/{identity}").json()["reading"]
    assert (told["state"], told["blinded"], told["mine"], told["needed"]) == ("waiting", True, False, 1)
    assert house.ask("boris", "GET", f"image-sets/{identity}/reads").json()["posterior"] is None


def test_adjudicators_and_auditors_see_a_case_once_it_waits_for_one(house: House) -> None:
    house.under("double-adjudicated")
    identity = house.installation.land()
    house.say("anna", identity, PRESENT)
    for who, role in (("clara", "adjudicator"), ("otto", "auditor")):
        assert house.ask(who, "GET", f"image-sets/{identity}/reads", role=role).json()["items"] == []
    house.say("boris", identity, ABSENT)
    for who, role, note in (("clara", "adjudicator", PRESENT["note"]), ("otto", "auditor", None)):
        reads = house.ask(who, "GET", f"image-sets/{identity}/reads", role=role).json()["items"]
        assert len(reads) == 2
        assert reads[0]["note"] == note, "an auditor sees no images, and no words that may name a patient"
    assert house.ask("dora", "GET", f"image-sets/{identity}/reads").json()["items"] == []
    assert house.ask("mara", "GET", f"image-sets/{identity}/reads", role="ml").json()["items"] == []


def test_what_is_settled_is_told_to_all_who_may_see_the_image_set(house: House) -> None:
    house.under("double")
    identity = house.installation.land()
    predicted(house, identity)
    house.say("anna", identity, PRESENT)
    house.say("boris", identity, PRESENT)
    told = house.ask("dora", "GET", f"image-sets/{identity}").json()
    assert (told["finding"]["site"], told["finding"]["laterality"], told["finding"]["rule"]) == (
        "RLL",
        "right",
        "agreement",
    )
    assert told["prediction"]["probability"] == MARK
    labels = house.ask("mara", "GET", f"image-sets/{identity}/labels", role="ml").json()["items"]
    assert [(label["by"], label["note"], label["reads"]) for label in labels] == [("boris", None, 2)]


def test_under_one_read_nobody_is_blinded(house: House) -> None:
    identity = house.installation.land()
    predicted(house, identity)
    told = house.ask("boris", "GET", f"image-sets/{identity}").json()
    assert (told["prediction"]["probability"], told["reading"]["blinded"]) == (MARK, False)


# What goes in


def test_a_read_is_told_the_side_that_follows_from_the_site_and_refused_another(house: House) -> None:
    identity = house.installation.land()
    for wrong in (
        {**PRESENT, "laterality": "left"},
        {**PRESENT, "laterality": "up"},
        {**PRESENT, "laterality": 3},
        {**ABSENT, "laterality": "left"},
        {**PRESENT, "reason": "other"},
        {**PRESENT, "confidence": "very"},
        {},
    ):
        assert house.say("anna", identity, wrong, 400)["error"]["code"] == "invalid-input"
    told = house.say("anna", identity, {**PRESENT, "site": "DIFFUSE", "laterality": "left"})
    assert (told["finding"]["site"], told["finding"]["laterality"]) == ("DIFFUSE", "left")


def test_a_read_sent_again_is_one_read(house: House) -> None:
    identity = house.installation.land()
    first, again = (house.say("anna", identity, PRESENT) for _ in range(2))
    assert (first["version"], again["version"]) == (2, 2)
    assert len(house.ask("anna", "GET", f"image-sets/{identity}/reads").json()["items"]) == 1


def test_verifying_the_old_way_is_one_of_two_reads(house: House) -> None:
    house.under("double")
    identity = house.installation.land()
    path = f"image-sets/{identity}/verification"
    assert house.ask("anna", "POST", path, PRESENT).json()["state"] == "INGESTED"
    assert house.ask("boris", "POST", path, PRESENT).json()["state"] == "VERIFIED"
    assert house.ask("clara", "POST", path, PRESENT).status_code == 409


def test_who_may_not_verify_may_not_read_and_who_may_not_adjudicate_may_not_decide(house: House) -> None:
    identity = house.installation.land()
    assert house.ask("r", "POST", f"image-sets/{identity}/reads", PRESENT, "reader").status_code == 403
    body = {**PRESENT, "reason": "other"}
    assert house.ask("v", "POST", f"image-sets/{identity}/adjudication", body).status_code == 403
    wish = {"policy": "double"}
    assert house.ask("v", "PUT", f"projects/{DEFAULT_DATASTORE}", wish).status_code == 403


# Adjudication, agreement, projects


def test_an_adjudicator_finds_the_case_decides_it_and_may_be_revised(house: House) -> None:
    house.under("double-adjudicated")
    identity = house.installation.land()
    house.say("anna", identity, PRESENT)
    house.say("boris", identity, ABSENT)
    (waiting,) = house.ask("clara", "GET", "adjudication", role="adjudicator").json()["items"]
    assert (waiting["id"], waiting["asked"], len(waiting["reads"])) == (identity, "disagreement", 2)
    path, body = f"image-sets/{identity}/adjudication", {**ABSENT, "reason": "artefact"}
    wrong = house.ask("clara", "POST", path, {**body, "reason": "because"}, "adjudicator")
    assert wrong.status_code == 400
    own = house.ask("anna", "POST", path, body, "adjudicator")
    assert (own.status_code, own.json()["error"]["code"]) == (403, "separation-of-duties")
    told = house.ask("clara", "POST", path, body, "adjudicator").json()
    assert (told["state"], told["finding"]["rule"]) == ("VERIFIED", "adjudication")
    revised = house.ask("dora", "POST", path, {**PRESENT, "version": 2, "reason": "other"}, "adjudicator").json()
    assert revised["version"] == 3
    labels = house.ask("otto", "GET", f"image-sets/{identity}/labels", role="auditor").json()["items"]
    assert [(each["rule"], each["by"], each["reason"]) for each in labels] == [
        ("adjudication", "clara", "artefact"),
        ("revision", "dora", "other"),
    ]
    audit = house.ask("otto", "GET", f"audit?subject={identity}&limit=50", role="auditor").json()["items"]
    done = [(entry["principal"], entry["action"]) for entry in audit[::-1] if entry["action"] not in {"land", "read"}]
    assert done[-4:] == [
        ("anna", "read.create"),
        ("boris", "read.create"),
        ("clara", "adjudicate"),
        ("dora", "adjudicate"),
    ]
    assert "Doe, Jane" not in house.events()


def test_agreement_and_quality_are_told_by_opaque_ids(house: House) -> None:
    house.under("double")
    for study in (PHANTOM, OTHER):
        identity = house.installation.land(study)
        word = PRESENT if study is PHANTOM else ABSENT
        house.say("anna", identity, word)
        house.say("boris", identity, word)
    told = house.ask("mara", "GET", "agreement", role="ml").json()
    assert (told["reads"], told["image_sets"], told["all"]["kappa"]) == (4, 2, 1.0)
    assert [(pair["readers"], pair["image_sets"]) for pair in told["pairs"]] == [(["anna", "boris"], 2)]
    assert [each["reader"] for each in told["readers"]] == ["anna", "boris"]
    assert all(0.5 < each["sensitivity"] < 1 for each in told["readers"])
    assert house.ask("mara", "GET", "agreement?datastore=none", role="ml").status_code == 404
    assert house.ask("v", "GET", "agreement").status_code == 403, "a reader could watch it move with each read"


def test_a_project_is_read_under_one_of_three_policies(house: House) -> None:
    path = f"projects/{DEFAULT_DATASTORE}"
    told = house.ask("v", "GET", path).json()
    assert (told["policy"], told["settle_at"], told["changed_by"]) == ("single", 0.9, None)
    for wrong in (
        {},
        {"policy": "triple"},
        {"policy": "double", "settle_at": 2},
        {"policy": "double", "settle_at": True},
        {"policy": "double", "x": 1},
    ):
        assert house.ask("boss", "PUT", path, wrong, "admin").status_code == 400, wrong
    told = house.ask("boss", "PUT", path, {"policy": "double", "settle_at": 0.95}, "admin").json()
    assert (told["policy"], told["settle_at"], told["changed_by"]) == ("double", 0.95, "boss")
    assert house.ask("boss", "PUT", path, {"policy": "single"}, "admin").json()["settle_at"] == 0.95
    assert house.ask("boss", "GET", "projects/none", role="admin").status_code == 404
    assert house.ask("boss", "PUT", "projects/none", {"policy": "double"}, "admin").status_code == 404


def test_the_worklist_by_value_says_why_and_leaves_out_what_one_has_read(house: House) -> None:
    house.under("double")
    first, second = house.installation.land(), house.installation.land(OTHER)
    house.say("anna", first, PRESENT)
    mine = house.ask("anna", "GET", "worklist?order=value&mine=1").json()["items"]
    assert [(item["id"], item["why"]) for item in mine] == [(second, "waiting")]
    all_of_them = house.ask("boris", "GET", "worklist?order=value&mine=1").json()["items"]
    assert {(item["id"], item["why"]) for item in all_of_them} == {(first, "second-read"), (second, "waiting")}
    page = house.ask("boris", "GET", "worklist?order=value&limit=1").json()
    assert house.ask("boris", "GET", f"worklist?order=value&limit=1&after={page['next']}").json()["items"]
    for wrong in ("order=best", "mine=1", "order=value&mine=2", "order=value&state=VERIFIED", "order=value&after=x"):
        assert house.ask("boris", "GET", f"worklist?{wrong}").status_code == 400, wrong


def test_patients_out_of_scope_have_no_reads(house: House) -> None:
    identity = house.installation.land()
    identities = house.installation.doors.identities
    assert identities is not None
    limited = Principal("lena", frozenset({"adjudicator"}), frozenset({OTHER.patient_id}))
    identities.trust("lena's", limited)
    headers = {"Authorization": "Bearer lena's"}
    for method, path, body in (
        ("GET", f"image-sets/{identity}/reads", None),
        ("GET", f"image-sets/{identity}/labels", None),
        ("POST", f"image-sets/{identity}/reads", PRESENT),
        ("POST", f"image-sets/{identity}/adjudication", {**PRESENT, "reason": "other"}),
    ):
        options = {} if body is None else {"json": body}
        assert house.client.request(method, f"{API}/{path}", headers=headers, **options).status_code == 404
    assert house.client.get(f"{API}/worklist?order=value", headers=headers).json()["items"] == []
    assert house.client.get(f"{API}/adjudication", headers=headers).json()["total"] == 0


def test_the_stream_index_of_a_blinded_reader_is_whole_otherwise(house: House) -> None:
    house.under("double")
    identity = house.installation.land(folded=True)
    predicted(house, identity)
    data = house.ask("boris", "GET", f"/stream/v1/{identity}/index").content
    assert data[:4] == b"RLSI"
    text = data[data.index(b'{"set"') :]
    told = json.JSONDecoder().raw_decode(text.decode("latin-1"))[0]["set"]
    assert (told["prediction"], told["reading"]["blinded"], told["frames"]) == (None, True, 4)
