"""A study streams to a browser on AWS: the functions on an emulator, their real signature, and an edge that checks it.

A study is put into the bucket, comes through the functions into HealthImaging (our own server) and out of it as packs
in S3 (MiniStack). A browser signs in at a pool's page and scrolls. Before the function `api` and the bucket stands
`tests.aws.edge`, which knows the public key alone and checks addresses as Amazon's guide says CloudFront does.
"""

import base64
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from playwright.sync_api import Browser, Page, Request, Response, expect

from radloop import doors_aws, lambdas, wiring_aws
from radloop.api.sign_in import SESSION
from radloop.core.identity import derived_id
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.parse import parse
from radloop.dicom.phantom import PhantomStudy, phantom_study
from radloop.security.edge import LIFE
from radloop.store.opened import current_instances
from radloop.up import STATIC
from tests.aws.arriving import Clock, healthimaging_url
from tests.aws.edge import Authorized, Edge, Function, KeyGroup, Packs, Pages, served
from tests.aws.edge_function import edge_function
from tests.aws.emulators import client, free_port, ministack, unique
from tests.aws.environment import CONTEXT, Environment, batch, environment, import_ended
from tests.aws.pool_page import Pool, pool_serving
from tests.browser.reference import Picture, picture
from tests.browser.screen import resize, seen, to_first
from tests.browser.test_signin_redirect import sign_in
from tests.browser.test_stream_engine import PHONE, WAIT_MS, Relay, until

__all__ = ["healthimaging_url", "ministack"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ANNA, RITA = "anna@example.org", "rita@example.org"
DESK = {"viewport": {"width": 1280, "height": 800}}
SLICES, SIZE = 70, 160
LINK_BYTES_S = 1_000_000
"""Bytes a second of the link, so that a series is not all there at once."""
KEY_ID = "K2EXAMPLE"


class Study(NamedTuple):
    """A study that came in.

    Attributes:
        id: Of its image set.
        files: As they were put in, in the order of the frames.
    """

    id: str
    files: Sequence[bytes]


@dataclass(frozen=True)
class Site:
    """An installation on AWS as a browser finds it.

    Attributes:
        url: Of the site, by a link of `LINK_BYTES_S`.
        clock: Of the functions and of CloudFront.
        long: A study of two packs of frames.
        other: A study of one.
    """

    url: str
    pool: Pool
    packs: Packs
    clock: Clock
    surroundings: Environment
    long: Study
    other: Study

    def sub(self, name: str) -> str:
        return str(self.pool.people[name]["sub"])


@pytest.fixture(scope="module")
def site(healthimaging_url: str, ministack: str) -> Iterator[Site]:
    assert (STATIC / "index.html").exists(), "the web page is not built: make setup"
    with ExitStack() as stack:
        port, clock = free_port(), Clock()
        relay = Relay(port, LINK_BYTES_S)
        stack.callback(relay.close)
        url = f"http://localhost:{relay.port}"
        pool = stack.enter_context(pool_serving(f"{url}/app/"))
        enrol(pool, ministack, ANNA, RITA)
        private = rsa.generate_private_key(65537, 2048)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(wiring_aws, "now", clock)
        assert doors_aws.now is not clock, "a leap would end what people signed in with, and hours of reading do not"
        surroundings = stack.enter_context(
            environment(
                ministack,
                healthimaging_url,
                {**people(pool, url), **signing(private, ministack, url)},
                study_quiet_s=0.2,
            )
        )
        studies = [phantom_study(1, consolidated=True, slices=SLICES, size=SIZE)]
        studies.append(phantom_study(2, consolidated=False, slices=4, size=64))
        long, other = taken_in(surroundings, studies)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        packs = Packs(client(ministack, "s3"), surroundings.buckets["stream"], KeyGroup({KEY_ID: public}, clock))
        api = Function(lambdas.api)
        stack.callback(api.close)
        cookie = stack.enter_context(edge_function("cookie.js"))
        pages = Pages(STATIC, stack.enter_context(edge_function("viewer.js")))
        stack.enter_context(served(Edge(cookie, Authorized(api, pool), pages, packs), port))
        yield Site(url, pool, packs, clock, surroundings, long, other)


def enrol(pool: Pool, address: str, *names: str) -> None:
    """People of a user pool of the emulator, which the functions ask, and of the pool that signs them in."""
    cognito = client(address, "cognito-idp")
    pool.pool = cognito.create_user_pool(PoolName=unique("pool"), UsernameAttributes=["email"])["UserPool"]["Id"]
    cognito.create_group(UserPoolId=pool.pool, GroupName="reader")
    for name in names:
        attributes = [{"Name": "email", "Value": name}]
        made = cognito.admin_create_user(
            UserPoolId=pool.pool, Username=name, MessageAction="SUPPRESS", UserAttributes=attributes
        )["User"]
        sub = next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub")
        cognito.admin_add_user_to_group(UserPoolId=pool.pool, Username=name, GroupName="reader")
        pool.add(name, "reader", sub=sub)


def people(pool: Pool, url: str) -> dict[str, str]:
    """Variables of the function `api`: who may come in, and by which page."""
    return {
        "RADLOOP_ISSUER": pool.issuer,
        "RADLOOP_CLIENT_ID": pool.client,
        "RADLOOP_SIGN_IN_URL": pool.address,
        "RADLOOP_SITE_URL": url,
    }


def signing(key: rsa.RSAPrivateKey, address: str, url: str) -> dict[str, str]:
    """Variables of the function `api`: what packs lie below, and where the key is that opens them."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secret = client(address, "secretsmanager").create_secret(Name=unique("stream-signing"), SecretString=pem)
    return {
        "RADLOOP_STREAM_URL": f"{url}/packs",
        "RADLOOP_STREAM_KEY_ID": KEY_ID,
        "RADLOOP_STREAM_SECRET": secret["ARN"],
    }


def taken_in(surroundings: Environment, studies: Sequence[PhantomStudy]) -> list[Study]:
    """Put studies into the bucket, and wake each function by what AWS would tell it, until their packs stand."""
    for number, study in enumerate(studies):
        told = [surroundings.put(f"upload/{number}/{place}.dcm", data) for place, data in enumerate(study.files)]
        assert lambdas.image_ingestion(batch(*told), CONTEXT) == {"batchItemFailures": []}
    for job in imported(surroundings, len(studies)):
        lambdas.image_ingestion(import_ended(surroundings.datastore, job), CONTEXT)
    while messages := surroundings.messages("stream"):
        assert lambdas.stream_layers({"Records": messages}, CONTEXT) == {"batchItemFailures": []}
    records = surroundings.cloud.platform.records
    rows = {row.columns["study_uid"]: row.key for row in records.find(IMAGE_SETS)}
    by_uid = {parse(data).sop_uid: data for study in studies for data in study.files}
    found = [rows[study.study_uid] for study in studies]
    return [Study(each, [by_uid[one.sop_uid] for one in current_instances(records, each)]) for each in found]


def imported(surroundings: Environment, count: int) -> list[str]:
    """The import jobs of so many studies, ended."""
    jobs: list[dict[str, Any]] = []
    end = time.monotonic() + 60
    while len(jobs) < count or any(job["jobStatus"] != "COMPLETED" for job in jobs):
        assert time.monotonic() < end, "the studies were not imported"
        if messages := surroundings.messages("assembly"):
            assert lambdas.study_assembly({"Records": messages}, CONTEXT) == {"batchItemFailures": []}
        jobs = surroundings.imaging.list_dicom_import_jobs(datastoreId=surroundings.datastore)["jobSummaries"]
        time.sleep(0.05)
    return [str(job["jobId"]) for job in jobs]


@pytest.fixture(autouse=True)
def at_the_present(site: Site) -> Iterator[None]:
    """Every test begins now, wherever the one before has turned the clock to."""
    yield
    site.clock.ahead = timedelta(0)


class Range(NamedTuple):
    """Bytes of a pack that a page asked for, and what it was answered; `last` is inclusive."""

    address: str
    first: int
    last: int

    @property
    def path(self) -> str:
        return urlsplit(self.address).path


@dataclass
class Asked:
    """What a page asks the site at `url` for, told by the browser."""

    url: str
    api: list[str] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def listen(self, page: Page) -> "Asked":
        page.on("request", self._begun)
        page.on("response", self._answered)
        return self

    @property
    def indexes(self) -> int:
        return sum(path.endswith("/index") for path in self.api)

    def _begun(self, request: Request) -> None:
        path = urlsplit(request.url).path
        if not request.url.startswith(f"{self.url}/"):
            return
        if path.startswith("/packs/"):
            first, last = request.headers["range"].removeprefix("bytes=").split("-")
            self.ranges.append(Range(request.url, int(first), int(last)))
        elif not path.startswith("/app/"):
            self.api.append(path)

    def _answered(self, response: Response) -> None:
        if urlsplit(response.url).path.startswith("/packs/"):
            self.statuses.append(response.status)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Any]:
    """Makes pages, each of a browser of its own; afterwards nothing may have thrown, nothing may have been blocked."""
    with ExitStack() as stack:
        faults: list[str] = []

        def made(**options: Any) -> Page:
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
            return page

        yield made
    assert faults == []


@cache
def wanted(data: bytes) -> Picture:
    return picture(data)


def open_study(page: Page, site: Site, study: Study, name: str = ANNA) -> Asked:
    """Sign in on the way to a study; what the page asked for from then on."""
    page.goto(f"{site.url}/app/#/view/{study.id}")
    asked = Asked(site.url).listen(page)
    sign_in(page, name)
    page.wait_for_selector('body[data-quality="lossless"]')
    return asked


def assert_true(page: Page, study: Study) -> None:
    """Scroll through all slices; each is, pixel by pixel, what was put in, at full quality."""
    resize(page, SIZE, SIZE)
    to_first(page)
    shown = seen(page, len(study.files))
    off = [int(np.abs(one.astype(int) - wanted(data)).max()) for one, data in zip(shown, study.files, strict=True)]
    assert max(off) <= 1, off


def packs_of(site: Site, study: Study) -> dict[str, int]:
    """Bytes of each pack of frames or previews of a study in the bucket, by path."""
    s3, bucket = client(site.surroundings.address, "s3"), site.surroundings.buckets["stream"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"packs/{study.id}/")["Contents"]
    return {f"/{each['Key']}": int(each["Size"]) for each in listed if not each["Key"].endswith("/index")}


def assert_each_byte_once(asked: Asked, packs: dict[str, int]) -> None:
    spans: dict[str, list[tuple[int, int]]] = {}
    for told in asked.ranges:
        spans.setdefault(told.path, []).append((told.first, told.last + 1))
    assert spans.keys() == packs.keys()
    for path, each in spans.items():
        ordered = sorted(each)
        assert (ordered[0][0], ordered[-1][1]) == (0, packs[path])
        assert all(before[1] == after[0] for before, after in pairwise(ordered)), (path, ordered)


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_a_reader_signs_in_and_every_byte_of_every_slice_comes_out_of_the_bucket(
    site: Site, new_page: Any, screen: dict[str, Any], tmp_path: Path
) -> None:
    page = new_page(**screen)
    page.goto(site.url)
    expect(page.get_by_text(f"You sign in at {urlsplit(site.pool.address).netloc}")).to_be_visible()
    page.screenshot(path=tmp_path / "sign-in.png")
    before = len(site.packs.given)
    asked = open_study(page, site, site.long)
    page.screenshot(path=tmp_path / "slice.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= screen["viewport"]["width"]
    assert_true(page, site.long)
    packs = packs_of(site, site.long)
    until(page, f"radloopStats().bytes >= {sum(packs.values())}")
    assert_each_byte_once(asked, packs)
    own = f"/api/v1/image-sets/{site.long.id}"
    told_of = {"/api/v1/sign-in", SESSION, f"{SESSION}/renewal", f"/stream/v1/{site.long.id}/index", f"{own}/priors"}
    assert set(asked.api) - {f"{own}/thumbnail"} <= told_of, "frames were asked of the API"
    assert asked.indexes == 1
    assert set(asked.statuses) == {206}
    given = site.packs.given[before:]
    assert sum(each.size for each in given) == sum(packs.values())
    assert "Signature" not in page.url
    print(f"{SLICES} slices, {sum(packs.values())} bytes by {len(given)} ranges; {tmp_path}")


class Link(NamedTuple):
    """What opens the packs of a study: what they lie below, and the parts of the query in their order."""

    base: str
    query: dict[str, str]

    def address(self, file: str = "frames/0", *, base: str | None = None, **changed: str) -> str:
        """Of a file, with another base or other parts; underscores of names stand for `-`."""
        parts = {**self.query, **{name.replace("_", "-"): value for name, value in changed.items()}}
        query = "&".join(f"{name}={value}" for name, value in parts.items() if value)
        return f"{self.base if base is None else base}{file}" + (f"?{query}" if query else "")


def link_of(asked: Asked) -> Link:
    """The link that a page used last."""
    base, _, query = asked.ranges[-1].address.partition("?")
    parts = dict(part.split("=", 1) for part in query.split("&"))
    return Link(re.sub(r"[^/]+/[^/]+$", "", base), parts)


def status(address: str) -> int:
    """What CloudFront answers who asks for the first bytes."""
    answer = httpx.get(address, headers={"Range": "bytes=0-9"})
    assert (answer.status_code == 206) == (len(answer.content) == 10)
    return answer.status_code


def other_sign(text: str, place: int) -> str:
    """The text with another sign there."""
    return f"{text[:place]}{'A' if text[place] != 'A' else 'B'}{text[place + 1 :]}"


def lengthened(policy: str) -> str:
    """A policy that ends a year later."""
    plain = json.loads(base64.b64decode(policy.translate(str.maketrans("-_~", "+=/"))))
    plain["Statement"][0]["Condition"]["DateLessThan"]["AWS:EpochTime"] += 366 * 86_400
    told = json.dumps(plain, separators=(",", ":")).encode()
    return base64.b64encode(told).decode().translate(str.maketrans("+=/", "-_~"))


def test_an_address_opens_what_it_was_signed_for_until_it_is_over(site: Site, new_page: Any) -> None:
    page = new_page(**DESK)
    long = link_of(open_study(page, site, site.long))
    asked = Asked(site.url).listen(page)
    page.evaluate("id => { location.hash = `#/view/${id}`; }", site.other.id)
    until(page, f"document.body.dataset.quality === 'lossless' && location.hash.endsWith('{site.other.id}')")
    other = link_of(asked)
    assert other.base != long.base
    assert [status(link.address(file)) for link in (long, other) for file in ("frames/0", "previews/0")] == [206] * 4
    refused = {
        "without the query": f"{long.base}frames/0",
        "with the query of another image set": long.address(**other.query),
        "a file of another image set": long.address(base=other.base),
        "another version": long.address(base=long.base.replace("/1/", "/2/")),
        "a file that is not there": long.address("frames/9"),
        "somebody else's name": long.address(**{"for": derived_id("edge", site.sub(RITA))}),
        "nobody's name": long.address(**{"for": ""}),
        "a policy for longer": long.address(Policy=lengthened(long.query["Policy"])),
        "a key that CloudFront does not know": long.address(Key_Pair_Id="K3EXAMPLE"),
        "signed by another key": signed_otherwise(site, long),
    }
    for name, value in long.query.items():
        for place in (0, len(value) // 2):
            refused[f"another sign in {name} at {place}"] = long.address(**{name: other_sign(value, place)})
        refused[f"without {name}"] = long.address(**{name: ""})
    assert {why: status(address) for why, address in refused.items()} == dict.fromkeys(refused, 403)
    site.clock.turn(LIFE.total_seconds() - 60)
    assert status(long.address()) == 206
    site.clock.turn(61)
    assert status(long.address()) == 403


def signed_otherwise(site: Site, link: Link) -> str:
    """An address that is as ours but for the key: whoever has no private key of ours can make it."""
    key = rsa.generate_private_key(65537, 2048)
    signature = key.sign(
        base64.b64decode(link.query["Policy"].translate(str.maketrans("-_~", "+=/"))),
        padding.PKCS1v15(),
        SHA1(),
    )
    return link.address(Signature=base64.b64encode(signature).decode().translate(str.maketrans("+=/", "-_~")))


def test_a_link_that_has_run_out_is_asked_for_anew_and_the_reader_goes_on(site: Site, new_page: Any) -> None:
    page = new_page(**DESK)
    asked = open_study(page, site, site.long)
    before = link_of(asked)
    site.clock.turn(LIFE.total_seconds() + 1)
    assert_true(page, site.long)
    assert asked.indexes == 2
    assert not any(path.endswith("/frames") for path in asked.api)
    assert set(asked.statuses) == {206, 403}
    assert asked.statuses[-1] == 206
    after = link_of(asked)
    assert (after.base, after.query["for"]) == (before.base, before.query["for"])
    assert after.query["Policy"] != before.query["Policy"]
    assert [status(link.address()) for link in (before, after)] == [403, 206]


def test_a_link_in_use_says_whose_it_is_and_the_audit_says_when_it_was_made(site: Site, new_page: Any) -> None:
    names = {}
    for name in (ANNA, RITA):
        before = len(site.packs.given)
        open_study(new_page(**DESK), site, site.other, name)
        (resource,) = {each.resource for each in site.packs.given[before:]}
        names[name] = resource.rpartition("?for=")[2]
        made = site.surroundings.cloud.platform.audit.entries(
            where={"action": "link.create", "subject": site.other.id, "principal": site.sub(name)}
        )
        assert len(made) >= 1
    assert names == {name: derived_id("edge", site.sub(name)) for name in (ANNA, RITA)}
    assert names[ANNA] != names[RITA]
