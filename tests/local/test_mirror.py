"""What MLflow shows of the registry: the real MLflow, in a process of its own as ever."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Unavailable
from radloop.core.identity import Principal
from radloop.core.settings import Settings
from radloop.functions.model_registry import decide, roll_back
from radloop.local import mirror
from tests.functions.house import House
from tests.functions.released import Release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not mirror.is_installed(), reason="the extra mlflow is not installed"),
]
ANN = Principal("ann", frozenset())


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Release]:
    house = House.build(tmp_path, Settings())
    yield Release.build(house, tmp_path / "home", release="automatic")
    house.database.close()


def asked(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What stands in the store, read past MLflow."""
    connection = sqlite3.connect(folder / "mlflow.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_runs_metrics_versions_and_aliases_are_told_once_and_kept_up_to_date(release: Release, tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    first = release.run("a")
    release.release(first)
    second = release.run("b", patients=["Doe^Jane", "Roe^Rick"])
    assert not mirror.is_current(release.platform, folder)
    assert mirror.sync(release.platform, folder) == {"runs": 2, "new_runs": 2, "versions": 2, "new_versions": 2}
    assert mirror.is_current(release.platform, folder)
    assert asked(folder, "SELECT alias, version FROM registered_model_aliases ORDER BY alias") == [
        ("champion", 1),
        ("shadow", 2),
    ]
    figures = dict(asked(folder, "SELECT key, value FROM latest_metrics"))
    assert figures == {"accuracy": 0.91, "accuracy.ci_low": 0.88, "accuracy.ci_high": 0.94}
    named = dict(asked(folder, "SELECT key, value FROM params WHERE run_uuid IN (SELECT run_uuid FROM runs LIMIT 1)"))
    assert named.items() >= {"epochs": "3", "image_size": "64", "CodeVersion": "0.1.0"}.items()
    assert asked(folder, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    assert mirror.sync(release.platform, folder) == {"runs": 2, "new_runs": 0, "versions": 2, "new_versions": 0}
    release.house.clock.wait(60)
    decide(second.version, release.platform, approved=True, by=ANN, reason="better-than-champion")
    roll_back(release.platform, by=ANN, reason="drift")
    assert not mirror.is_current(release.platform, folder)
    assert mirror.sync(release.platform, folder)["new_versions"] == 0
    assert asked(folder, "SELECT alias, version FROM registered_model_aliases") == [("champion", 1)]
    tags = dict(asked(folder, "SELECT key, value FROM model_version_tags WHERE version = 2"))
    assert (tags["radloop.status"], tags["radloop.rolled_back"]) == ("Approved", "yes")
    assert asked(folder, "SELECT COUNT(*) FROM runs WHERE lifecycle_stage = 'active'") == [(2,)]
    everything = (folder / "mlflow.db").read_bytes()
    for patient in (b"Doe", b"Rick"):
        assert patient not in everything


def test_a_mirror_that_cannot_be_written_is_unavailable_and_harms_nothing(release: Release, tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(b"this is no database, but it is long enough to look like one" * 20)
    release.release(release.run("a"))
    with pytest.raises(Unavailable):
        mirror.sync(release.platform, folder)
    assert release.platform.models.get(1).status == "Approved"


def test_without_the_extra_the_mirror_says_what_is_missing(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="the extra is called mlflow"):
        mirror.sync(release.platform, tmp_path / "mlflow")
