"""The evidence of a version: whole, always the same, and never changed unseen."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.core.errors import NotFound, Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.functions.evidence import evidence_bundle
from radloop.functions.model_registry import decide, roll_back
from radloop.registry.evidence import Examined, bundle, examine, written
from radloop.registry.signatures import PrivateKey
from tests.functions.house import House
from tests.functions.released import Release

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(32))


@pytest.fixture
def release(house: House, tmp_path: Path) -> Release:
    built = Release.build(house, tmp_path / "home")
    built.sign()
    built.release(built.run("a"))
    return built


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def failed(examined: Examined) -> list[str]:
    return [check.name for check in examined.checks if not check.passed]


def forged(files: dict[str, bytes], key: PrivateKey = KEY, **changes: Any) -> bytes:
    """A bundle of these files, rightly listed and signed by `key`."""
    manifest = json.loads(files["manifest.json"]) | changes
    rest = {name: data for name, data in files.items() if not name.startswith("manifest.")}
    return bundle(manifest["version"], manifest["execution"], rest, manifest["absent"], key)


def test_the_evidence_of_a_version_holds_and_says_what_was_looked_at(release: Release) -> None:
    examined = examine(evidence_bundle(1, release.platform), KEY.public_key)
    assert examined.holds, failed(examined)
    assert (examined.version, examined.is_trusted) == (1, True)
    assert {check.name for check in examined.checks} >= {
        "archive", "format", "signature", "files", "ledger", "version", "data set", "evaluation", "evaluated data",
        "policy", "package", "plan", "plan signatures", "report",
    }  # fmt: skip
    assert examined.absent == ("evaluation/checklists.json", "evaluation/predictions.json")


def test_everything_that_is_promised_is_in_it(release: Release) -> None:
    files = files_of(evidence_bundle(1, release.platform))
    assert set(files) == {
        "manifest.json", "manifest.sig", "snapshot/manifest.jsonl", "snapshot/snapshot.json", "readers.json",
        "splits.json", "evaluation/evaluation.json", "evaluation/report.html", "evaluation/model_card.md",
        "policy.json", "plan/pccp.yaml", "plan/pccp.signatures.json", "model/hashes.json", "model/lineage.json",
        "ledger.json", "audit.json", "version.json", "software.json",
    }  # fmt: skip
    assert json.loads(files["readers.json"])["readers"] == {"r1": {"sensitivity": 0.9, "specificity": 0.8, "reads": 3}}
    splits = json.loads(files["splits.json"])
    assert (splits["patients"], splits["patients_in_two_parts"]) == ({"train": 3}, 0)
    audit = json.loads(files["audit.json"])
    assert [entry["action"] for entry in audit["entries"]] == ["register", "approve"]
    assert audit["head"] == audit["entries"][-1]["hash"]
    assert json.loads(files["version.json"])["decided_by"] == "plan"
    assert json.loads(files["software.json"])["radloop"]


def test_the_package_itself_comes_along_where_it_is_wished_for(release: Release) -> None:
    files = files_of(evidence_bundle(1, release.platform, with_package=True))
    hashes = json.loads(files["model/hashes.json"])
    assert hashlib.sha256(files["model/model.tar.gz"]).hexdigest() == hashes["model.tar.gz"]
    assert hashes["members"]["model.onnx"] == hashlib.sha256(b"weights").hexdigest()
    assert examine(evidence_bundle(1, release.platform, with_package=True), KEY.public_key).holds


def test_the_same_version_is_the_same_bytes_whoever_looked_meanwhile(release: Release) -> None:
    first = evidence_bundle(1, release.platform)
    release.platform.audit.count(OWNER, "evidence.export", "model-1")
    release.house.clock.wait(3600)
    release.run("b")
    assert evidence_bundle(1, release.platform) == first


def test_a_rollback_stands_in_the_evidence_of_both_versions(release: Release) -> None:
    release.release(release.run("b", patients=["p7", "p8"]))
    roll_back(release.platform, by=Principal("ann", frozenset()), reason="incident")
    for version in (1, 2):
        data = evidence_bundle(version, release.platform)
        assert examine(data, KEY.public_key).holds
        actions = [entry["action"] for entry in json.loads(files_of(data)["ledger.json"])["entries"]]
        assert "rolledback" in actions


def test_a_version_that_waits_has_evidence_too(release: Release) -> None:
    release.release(release.run("b", patients=["p1", "p2", "p3"]))
    data = evidence_bundle(2, release.platform)
    examined = examine(data, KEY.public_key)
    assert examined.holds, failed(examined)
    told = json.loads(files_of(data)["version.json"])
    assert [each["code"] for each in told["held"]] == ["too-few-new-patients"]
    assert "plan/pccp.yaml" not in files_of(data)


def test_a_version_that_a_person_approved_has_evidence_without_a_plan(house: House, tmp_path: Path) -> None:
    release = Release.build(house, tmp_path / "home")
    release.run("a")
    decide(1, release.platform, approved=True, by=Principal("ann", frozenset()), reason="evidence-reviewed")
    examined = examine(evidence_bundle(1, release.platform), KEY.public_key)
    assert examined.holds, failed(examined)
    assert "plan" not in {check.name for check in examined.checks}


def test_what_is_gone_is_named_as_absent(release: Release) -> None:
    model = release.platform.models.get(1)
    release.platform.blobs.delete(model.artifact)
    release.platform.blobs.delete(f"training-data/snapshots/{model.lineage['snapshot']}/manifest.jsonl")
    examined = examine(evidence_bundle(1, release.platform), KEY.public_key)
    assert examined.holds
    assert examined.absent[2:] == ("model/model.tar.gz", "snapshot/manifest.jsonl")


def test_there_is_no_evidence_of_what_is_not_there(release: Release) -> None:
    with pytest.raises(NotFound):
        evidence_bundle(9, release.platform)
    with pytest.raises(Unavailable):
        evidence_bundle(1, release.house.platform)


# Tampering


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from radloop.core.settings import Settings

    folder = tmp_path_factory.mktemp("made")
    house = House.build(folder, Settings())
    release = Release.build(house, folder / "home")
    release.sign()
    release.release(release.run("a"))
    data = evidence_bundle(1, release.platform)
    house.database.close()
    return data


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 1 << 30), other=st.integers(1, 255))
def test_one_changed_byte_anywhere_in_the_file_is_found(made: bytes, place: int, other: int) -> None:
    data = bytearray(made)
    data[place % len(data)] ^= other
    assert not examine(bytes(data), KEY.public_key).holds


def test_one_changed_byte_in_any_of_its_files_is_found_even_where_the_archive_is_made_anew(made: bytes) -> None:
    files = files_of(made)
    from radloop.registry.archive import _archive

    for name, content in files.items():
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 1
            data = _archive({**files, name: bytes(changed)})
            assert not examine(data, KEY.public_key).holds, name


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(begin=st.integers(0, 1 << 30), length=st.integers(1, 5000), junk=st.binary(max_size=20))
def test_what_is_cut_out_or_put_in_is_found(made: bytes, begin: int, length: int, junk: bytes) -> None:
    begin %= len(made)
    cut = made[:begin] + junk + made[begin + length :]
    assert cut == made or not examine(cut, KEY.public_key).holds
    put = made[:begin] + junk + made[begin:]
    assert put == made or not examine(put, KEY.public_key).holds


@given(st.binary(max_size=400))
def test_no_bytes_surprise_the_examiner(data: bytes) -> None:
    examined = examine(data, KEY.public_key)
    assert not examined.holds
    assert examined.version is None


def test_a_file_that_is_added_or_left_out_is_found(made: bytes) -> None:
    from radloop.registry.archive import _archive

    files = files_of(made)
    assert failed(examine(_archive({**files, "extra.txt": b"x"}), KEY.public_key)) == ["files"]
    less = {name: data for name, data in files.items() if name != "evaluation/report.html"}
    assert failed(examine(_archive(less), KEY.public_key)) == ["files"]


def test_a_packed_archive_of_the_same_files_is_another_file(made: bytes) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files_of(made).items():
            archive.writestr(name, data)
    assert not examine(sink.getvalue(), KEY.public_key).holds


def test_a_bundle_by_another_key_is_whole_and_not_trusted(made: bytes) -> None:
    data = forged(files_of(made), OTHER)
    assert failed(examine(data, KEY.public_key)) == ["signature"]
    alone = examine(data)
    assert (alone.holds, alone.is_trusted, alone.public_key) == (True, False, OTHER.public_key)


def test_a_manifest_that_names_a_key_it_is_not_signed_with_is_found(made: bytes) -> None:
    from radloop.registry.archive import _archive

    files = files_of(forged(files_of(made), OTHER))
    claimed = files["manifest.json"].replace(OTHER.public_key.encode(), KEY.public_key.encode())
    assert "signature" in failed(examine(_archive({**files, "manifest.json": claimed}), KEY.public_key))
    assert "signature" in failed(examine(_archive({**files, "manifest.json": claimed})))


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("evaluation/evaluation.json", lambda told: told | {"metrics": {}}, "evaluation"),
        ("evaluation/evaluation.json", lambda told: told | {"dataset_sha256": "0" * 64}, "evaluated data"),
        ("policy.json", lambda told: told | {"accuracy": {"least": 0.1}}, "policy"),
        ("model/hashes.json", lambda told: told | {"model.tar.gz": "0" * 64}, "package"),
        ("plan/pccp.signatures.json", lambda told: told | {"signatures": told["signatures"][:1]}, "plan signatures"),
        ("plan/pccp.signatures.json", lambda told: {}, "plan signatures"),
    ],
)
def test_files_that_contradict_each_other_are_found_even_where_the_house_signed_them(
    made: bytes, name: str, change: Any, found: str
) -> None:
    files = files_of(made)
    files[name] = written(change(json.loads(files[name])))
    assert found in failed(examine(forged(files), KEY.public_key))


def test_another_data_set_plan_or_ledger_is_found_even_where_the_house_signed_it(made: bytes) -> None:
    for name, content, found in (
        ("snapshot/manifest.jsonl", b"{}\n", "data set"),
        ("evaluation/report.html", b"<!doctype html>", "report"),
        ("plan/pccp.yaml", b"version: 1\n", "plan"),
        ("ledger.json", b"{}", "ledger"),
    ):
        assert found in failed(examine(forged({**files_of(made), name: content}), KEY.public_key))
    assert "version" in failed(examine(forged(files_of(made), version=7), KEY.public_key))
    less = {name: data for name, data in files_of(made).items() if not name.startswith("plan/")}
    assert "plan" in failed(examine(forged(less), KEY.public_key))


def test_a_ledger_entry_that_was_changed_is_found_even_where_the_house_signed_it(made: bytes) -> None:
    files = files_of(made)
    ledger = json.loads(files["ledger.json"])
    ledger["entries"][1]["by"] = "mallory"
    files["ledger.json"] = written(ledger)
    assert "ledger" in failed(examine(forged(files), KEY.public_key))
