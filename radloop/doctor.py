"""The deployment checklist, answered for a home: every box a line that says ok, failed or not applicable, and why.

A box of the brief that speaks of AWS is answered by what stands for it here: the sealed object store for the buckets,
the encrypted index for the tables, processes for the containers.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from radloop.client import Client
from radloop.core.checklist import Check, Found, either, failed, not_applicable, ok
from radloop.core.contracts import contracts
from radloop.core.events import CATALOGUE
from radloop.functions.catalogue import FUNCTIONS
from radloop.functions.rules import load_rules
from radloop.local.home import Home
from radloop.pipeline.pipeline_builder import definition
from radloop.security.access import load_roles

_OTHERS: Final = 0o077
_SAMPLED = 200
_PLAIN_SQLITE = b"SQLite format 3\0"
_PREAMBLE = slice(128, 132)
_BRIEFS_RULES = {"ImageVerified", "TrainingComplete", "EvaluationPassed", "MetricViolation", "PipelineFailure"}
_BRIEFS_FUNCTIONS = {"image_ingestion", "pipeline_trigger", "model_evaluation", "model_registry"}
_DOCUMENTS = {
    "D10.1": ("aws.md", "the pictures of the architecture"),
    "D10.2": ("api.md", "the API, beside GET /api/v1/openapi.json"),
    "D10.3": ("runbook.md", "what to do by hand, step by step"),
    "D10.4": ("troubleshooting.md", "what to do when something is wrong"),
}


@dataclass
class HomeChecks:
    """Looks at a home, and asks what serves it.

    Args:
        home: The folder.
        client: Of the server that holds it, or of the home itself.
    """

    home: Home
    client: Client

    def all(self) -> dict[str, Check]:
        """A check for every box, by its id."""
        return {
            "D1.1": self._network,
            "D1.2": self._keys,
            "D1.3": self._objects,
            "D1.4": self._index,
            **{f"D2.{box}": _no_terraform for box in (1, 2, 3)},
            "D2.4": self._outputs,
            "D3.1": self._store,
            "D3.2": self._inbox,
            "D3.3": self._link,
            "D3.4": lambda: not_applicable("a server cannot see it; `make bench-viewer` measures it in a browser"),
            "D4.1": _pipeline,
            "D4.2": _steps,
            "D4.3": _roles,
            "D4.4": self._succeeded,
            "D5.1": _functions,
            "D5.2": self._settings,
            "D5.3": self._private,
            "D5.4": self._logs,
            "D6.1": self._bus,
            "D6.2": self._rules,
            "D6.3": self._delivered,
            "D7.1": self._dashboards,
            "D7.2": self._alarms,
            "D7.3": self._audit,
            "D7.4": self._retention,
            "D8.1": self._audit,
            "D8.2": self._encryption,
            "D8.3": self._network,
            "D8.4": lambda: not_applicable("a person's work: read contracts/roles.json and `radloop users list`"),
            "D9.1": self._received,
            "D9.2": self._ingested,
            "D9.3": self._looked_at,
            "D9.4": self._ran,
            "D9.5": self._trained,
            "D9.6": self._registered,
            **{identity: _document(*of) for identity, of in _DOCUMENTS.items()},
            "C8": self._noticing,
            "C12": self._incidents,
        }

    # What is asked for once

    @cached_property
    def _image_sets(self) -> list[dict[str, Any]]:
        return list(self.client.get("worklist", limit=_SAMPLED)["items"])

    @cached_property
    def _executions(self) -> list[dict[str, Any]]:
        return list(self.client.get("executions", limit=_SAMPLED)["items"])

    @cached_property
    def _events(self) -> list[dict[str, Any]]:
        return list(self.client.get("events", limit=_SAMPLED)["items"])

    # The place itself

    def _network(self) -> Found:
        if self.client.url is None:
            return not_applicable("no server holds this home, so nobody can reach it")
        address = urlsplit(self.client.url)
        if _is_loopback(address.hostname or ""):
            return ok("the server listens on this machine alone")
        return either(
            address.scheme == "https",
            "the server listens on the network, by TLS and behind a sign-in",
            "the server listens on the network without TLS",
        )

    def _keys(self) -> Found:
        if not self.home.kek.exists():
            return failed("there is no key-encryption key in keys/; `radloop up` makes one")
        return either(
            not _open_to_others(self.home.kek),
            "the key-encryption key is there, readable by its owner alone",
            "others than the owner may read keys/kek; chmod 600 it",
        )

    def _objects(self) -> Found:
        looked = list(islice(_files(self.home.objects / "image-sets"), _SAMPLED))
        plain = sum(_is_plain(path) for path in looked)
        if not looked:
            return not_applicable("nothing is stored yet")
        return either(
            not plain,
            f"{len(looked)} stored objects were looked at, none is a DICOM file that can be read as it lies",
            f"{plain} of {len(looked)} stored objects are DICOM files that can be read as they lie",
        )

    def _index(self) -> Found:
        if not self.home.index.exists():
            return failed("there is no index; `radloop up` or `radloop ingest` makes one")
        with self.home.index.open("rb") as file:
            is_plain = file.read(len(_PLAIN_SQLITE)) == _PLAIN_SQLITE
        return either(not is_plain, "the index is there, encrypted page by page", "the index is not encrypted")

    def _outputs(self) -> Found:
        names = [path.name for path in (self.home.index, self.home.kek, self.home.authority) if path.exists()]
        return ok(f"in the home: {', '.join(names)}; the server's address in server.json while it runs")

    def _store(self) -> Found:
        found = self._image_sets
        return ok(f"the store answers; it holds {_count(len(found), 'image set')}")

    def _inbox(self) -> Found:
        return either(
            self.home.inbox.is_dir() and os.access(self.home.inbox, os.W_OK),
            "files that are put into objects/training-data/upload/ are taken in",
            "the inbox objects/training-data/upload/ is not there or cannot be written",
        )

    def _link(self) -> Found:
        if not self._image_sets or self.client.http is None:
            return not_applicable("needs a running server and an image set to sign a link to")
        name = self._image_sets[0]["id"]
        answer = self.client.http.post(f"/stream/v1/{name}/links", json={})
        return either(
            answer.is_success, "a link to an image set was signed just now", f"signing a link: {answer.status_code}"
        )

    # The loop

    def _succeeded(self) -> Found:
        done = [run for run in self._executions if run["state"] == "Succeeded"]
        return either(
            done, f"{_count(len(done), 'run')} succeeded", "no run has succeeded yet; `radloop train` starts one"
        )

    def _settings(self) -> Found:
        self.home.settings()
        return ok(
            "settings.toml can be read" if (self.home.root / "settings.toml").exists() else "all settings are defaults"
        )

    def _private(self) -> Found:
        return either(
            not _open_to_others(self.home.root),
            "the home can be entered by its owner alone",
            "others than the owner may enter the home; chmod 700 it",
        )

    def _logs(self) -> Found:
        logs = sorted(path for path in (self.home.root / "logs").glob("**/*") if path.is_file())
        if not logs:
            return not_applicable("this home keeps no log files; `radloop up` writes lines of JSON to standard error")
        lines = [line for path in logs for line in path.read_bytes().splitlines()[-_SAMPLED:]]
        bad = sum(not _is_json(line) for line in lines)
        return either(not bad, f"{len(lines)} lines looked at, all JSON", f"{bad} of {len(lines)} lines are no JSON")

    def _bus(self) -> Found:
        return ok(f"the outbox answers; {len(CATALOGUE)} types of events are known")

    def _rules(self) -> Found:
        text = (contracts() / "events" / "rules.json").read_text()
        rules = load_rules([text], self.home.settings())
        lacking = _BRIEFS_RULES - {rule.name for rule in rules}
        unknown = {rule.target for rule in rules} - set(FUNCTIONS)
        return either(
            not lacking and not unknown,
            f"{len(rules)} rules, the brief's five among them; each has its function",
            f"lacking rules: {sorted(lacking)}; rules without a function: {sorted(unknown)}",
        )

    def _delivered(self) -> Found:
        dead = self.client.get("jobs/dead-letters")["items"]
        if dead:
            return failed(f"{_count(len(dead), 'job')} given up on; see `radloop jobs`")
        if not self._events:
            return not_applicable("nothing has happened yet")
        return ok(f"{_count(len(self._events), 'event')} looked at, none given up on")

    # Watching

    def _dashboards(self) -> Found:
        found = self.client.get("dashboards")
        return ok(f"{len(found['dashboards'])} dashboards in the app, Prometheus figures at /metrics")

    def _alarms(self) -> Found:
        found = self.client.get("alarms")["items"]
        told = self.home.settings().notify
        return either(
            found and told,
            f"{len(found)} alarms are watched, {_count(len(told), 'address', 'addresses')} told",
            f"{len(found)} alarms are watched, but nobody is told: put an address into the setting notify",
        )

    def _noticing(self) -> Found:
        settings = self.home.settings()
        if not (settings.incident_patients and settings.isolate_patients):
            return failed("incident_patients or isolate_patients is 0: it is not noticed, or nobody is kept out")
        told = (
            f"above {settings.incident_patients} patients in five minutes an incident is opened, "
            f"above {settings.isolate_patients} the reader is kept out"
        )
        return ok(told) if self.client.url is not None else not_applicable(f"{told}, while a server runs; none does")

    def _incidents(self) -> Found:
        found = [each for each in self.client.get("incidents")["items"] if each["state"] == "open"]
        late = [each["id"] for each in found if _is_late(each)]
        if late:
            return failed(f"a clock ran out and nobody has said who was told: {', '.join(late)}")
        key = self.client.get("models/evidence-key")["fingerprint"]
        return either(
            self.home.settings().notify,
            f"evidence is signed by {key}; {_count(len(found), 'incident')} open, no clock ran out",
            "nobody would be told of an incident: put an address into the setting notify",
        )

    def _audit(self) -> Found:
        verdict = self.client.get("audit/verification")
        return either(verdict["whole"], f"the chain of {verdict['entries']} entries is whole", "the chain is broken")

    def _retention(self) -> Found:
        return ok(f"log files go after {self.home.settings().log_days:g} days; the audit is never cut")

    def _encryption(self) -> Found:
        resting = [check() for check in (self._keys, self._objects, self._index)]
        bad = [found.reason for found in resting if found.state == "failed"]
        if bad:
            return failed("; ".join(bad))
        if self.client.url is None:
            return not_applicable("at rest it is as it should be; no server runs, so nothing is in transit")
        is_tls = self.client.url.startswith("https:")
        return either(
            is_tls or self._network().state == "ok",
            "sealed at rest; " + ("TLS in transit" if is_tls else "in transit nothing leaves this machine"),
            "in transit: the server speaks without TLS on the network",
        )

    # What has been done

    def _received(self) -> Found:
        return either(
            self._image_sets, "files have come in", "nothing has come in yet; `radloop phantom` and `radloop ingest`"
        )

    def _ingested(self) -> Found:
        folded = [item for item in self._image_sets if item["storage"] != "landed"]
        if not self._image_sets:
            return failed("nothing has come in yet")
        return either(
            folded,
            f"{len(folded)} of {_count(len(self._image_sets), 'image set')} looked at verified and folded",
            "no image set has been folded yet",
        )

    def _looked_at(self) -> Found:
        reads = self.client.get("audit", limit=1, action="read")["items"]
        return either(reads, "image sets have been opened", "nobody has opened an image set yet")

    def _ran(self) -> Found:
        begun = self.client.get("audit", limit=1, action="execution.start")["items"]
        return either(begun, "a run was started by a person", "no run was started by a person yet; `radloop train`")

    def _trained(self) -> Found:
        trained = [run for run in self._executions if _has_trained(run)]
        return either(trained, f"{_count(len(trained), 'run')} trained a network", "no run has trained yet")

    def _registered(self) -> Found:
        found = self.client.get("models")["items"]
        return either(found, f"{_count(len(found), 'version')} registered", "no model version is registered yet")


def _no_terraform() -> Found:
    return not_applicable("there is no Terraform on one machine; `radloop doctor --aws` looks at an account")


def _pipeline() -> Found:
    steps = [step["Name"] for step in definition()["Steps"]]
    return ok(f"the definition compiles: {', '.join(steps)}")


def _steps() -> Found:
    return either(
        find_spec("torch") is not None,
        "steps are processes here, no containers; what they need is installed",
        "training needs the extra train: pip install 'radloop[train]'",
    )


def _roles() -> Found:
    roles = load_roles((contracts() / "roles.json").read_text())
    return ok(f"{len(roles)} roles stand in contracts/roles.json, and every door asks for them")


def _functions() -> Found:
    lacking = _BRIEFS_FUNCTIONS - set(FUNCTIONS)
    return either(not lacking, f"{len(FUNCTIONS)} functions answer to rules", f"lacking: {sorted(lacking)}")


def _document(name: str, what: str) -> Check:
    def check() -> Found:
        folder = Path(__file__).resolve().parent.parent / "docs"
        if not folder.is_dir():
            return not_applicable("the documents come with the source")
        return either((folder / name).exists(), f"docs/{name}: {what}", f"docs/{name} is missing")

    return check


def _is_late(incident: dict[str, Any]) -> bool:
    return any(
        clock["told_at"] is None and datetime.fromisoformat(clock["ends_at"]) < datetime.now(UTC)
        for clock in incident["clocks"].values()
    )


def _has_trained(run: dict[str, Any]) -> bool:
    return any(step["type"] == "Training" and step["state"] == "Succeeded" for step in run["steps"])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _is_plain(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PREAMBLE.stop)[_PREAMBLE] == b"DICM"


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
