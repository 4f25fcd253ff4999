import json
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from radloop.cli import main
from radloop.conform.run import run
from radloop.conform.session import Session
from radloop.conform.table import chosen
from radloop.conform.wire import Server
from radloop.dicom.specimens import Study, slice_of
from tests.conform.faulty import served

PATIENT = "Mustermann^Erika"


@contextmanager
def session_on(url: str, *, only_reads: bool = False) -> Iterator[Session]:
    with closing(Server(url)) as server:
        yield Session(server, only_reads=only_reads)


def conform(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["conform", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_table_tells_what_was_found_and_what_is_written_where() -> None:
    with served("absent-frame-is-400") as url:
        status, told, _ = conform(url, "--only", "frames")
    assert status == 3
    (line,) = [line for line in told.splitlines() if "frames-absent " in line]
    assert line.split()[:3] == ["fail", "must", "frames-absent"]
    assert "400 " in line
    assert "PS3.18 §10.4.3.1" in line
    assert "Not conformant" in told


def test_exit_status_0_means_no_must_failed() -> None:
    with served("no-thumbnails") as url:
        status, told, _ = conform(url, "--only", "rendered", "--only", "qido-limit")
    assert status == 0
    assert "No must fails." in told
    assert "rendered-thumbnail" in told
    assert "qido-limit" in told
    assert "stow-" not in told


def test_json_and_junit_say_the_same(tmp_path: Path) -> None:
    with served("qido-limit-ignored", "no-thumbnails") as url:
        status, told, _ = conform(
            url, "--json", "--junit", str(tmp_path / "r.xml"), "--only", "qido", "--only", "rendered"
        )
    report = json.loads(told)
    assert (status, report["conforms"]) == (3, False)
    failed = {check["id"]: check for check in report["checks"] if check["outcome"] == "fail"}
    assert failed["qido-limit"]["found"] == "3 results"
    assert report["counts"]["must"]["fail"] == sum(check["severity"] == "must" for check in failed.values())
    cases = {case.get("name"): case for case in ET.parse(tmp_path / "r.xml").iter("testcase")}
    assert cases.keys() == {check["id"] for check in report["checks"]}
    assert cases["qido-limit"].find("failure") is not None
    assert cases["rendered-thumbnail"].find("failure") is None, "a should is no failure of the build"
    assert cases["rendered-thumbnail"].find("skipped") is not None


def test_read_only_stores_nothing_and_prints_no_value_of_a_patient(tmp_path: Path) -> None:
    with served() as url, session_on(url) as session:
        study = Study(token="SENTINEL", name=PATIENT)
        assert session.stow(study.image([slice_of(1)]), study.image([slice_of(2)])).status == 200
        status, told, said = conform(url, "--read-only", "--json", "--junit", str(tmp_path / "r.xml"))
        assert len(session.get("/studies").rows()) == 1
        _, plain, _ = conform(url, "--read-only")
    report = json.loads(told)
    assert status == 0
    assert report["counts"]["must"]["fail"] == 0
    assert report["counts"]["must"]["pass"] > 60
    everything = told + said + plain + (tmp_path / "r.xml").read_text()
    for value in ("Mustermann", "Erika", "SENTINEL", study.uid, study.series, "19870615"):
        assert value not in everything


def test_a_faulty_server_cannot_make_it_print_a_patient() -> None:
    with served("json-names-as-text", "json-unordered", "metadata-small-letters", "qido-limit-ignored") as url:
        study = Study(name=PATIENT)
        with session_on(url) as session:
            session.stow(study.image([slice_of(1)]))
        for extra in ((), ("--read-only",)):
            _, told, said = conform(url, *extra, "--only", "qido", "--only", "metadata", "--only", "charsets")
            assert "Mustermann" not in told + said


def test_clean_deletes_what_was_stored() -> None:
    with served() as url:
        status, _, said = conform(url, "--clean", "--only", "stow-multipart", "--only", "qido-limit")
        assert status == 0
        assert "2 of 2 studies are deleted again" in said
        with session_on(url) as session:
            assert session.get("/studies").status == 204


def test_nothing_is_deleted_unless_it_is_asked_for() -> None:
    with served() as url:
        conform(url, "--only", "stow-multipart")
        with session_on(url) as session:
            assert len(session.get("/studies").rows()) == 1


def test_a_server_that_lets_nobody_in_is_not_held_against_the_standard(tmp_path: Path) -> None:
    class Shut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *words: object) -> None:
            """Not into the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shut)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    (tmp_path / "token").write_text("wrong")
    url = f"http://127.0.0.1:{server.server_address[1]}/dicomweb"
    try:
        status, told, said = conform(url)
        assert (status, told, "401" in said, "--token-file" in said) == (1, "", True, True)
        assert "does not take this token" in conform(url, "--token-file", str(tmp_path / "token"))[2]
    finally:
        server.shutdown()
        server.server_close()


def test_what_cannot_be_run_is_told() -> None:
    with served() as url:
        status, _, said = conform(url, "--only", "no-such-check")
        assert (status, "no-such-check is no check" in said and "stow, qido" in said) == (1, True)
    assert conform("ftp://example/dicomweb")[0] == 1
    status, _, said = conform("http://127.0.0.1:9/dicomweb", "--timeout", "1")
    assert (status, "does not answer" in said) == (5, True)


def test_the_token_goes_to_the_server_and_to_nobody_else() -> None:
    with closing(Server("http://a.example/dicomweb", token="secret")) as server:
        assert server._is_ours("http://a.example/dicomweb/studies")
        assert not server._is_ours("http://b.example/dicomweb/studies")
        assert not server._is_ours("https://a.example/")


def test_nothing_passing_is_not_conformant() -> None:
    with served() as url, session_on(url, only_reads=True) as session:
        report = run(chosen(("stow-multipart",)), session)
    assert {result.found for result in report.results} == {"would store", "an answer"}
    assert not report.conforms


@pytest.mark.parametrize("group", ["caching", "ranges", "negotiation", "bulkdata"])
def test_each_group_runs_alone(group: str) -> None:
    with served() as url:
        assert conform(url, "--only", group)[0] == 0
