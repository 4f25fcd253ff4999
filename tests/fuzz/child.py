"""Meets damaged files: python -m tests.fuzz.child SEED FIRST COUNT FOLDER. Prints what became of each kind.

Every case is one line of `FOLDER/case` while it runs, so that whoever survives this process can tell which one it died
of: the case `SEED-NUMBER` gives the same bytes again.
"""

import faulthandler
import gc
import hashlib
import json
import random
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from radloop.codec import isolated
from radloop.core import errors
from radloop.core.errors import InvalidInput
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.dicom.document import dicom_json
from radloop.dicom.parse import parse
from radloop.store.folding import fold_file
from tests.api.installation import Installation, TestClient, open_installation
from tests.fuzz.mutations import damaged, multipart
from tests.store.test_inputs import CASES

MEMORY = 4 << 30
LONGEST_S = 10.0
HOUSE_CASES = 40
DOOR_SHARE = 0.35
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, InvalidInput)}
KEPT = {"no-pixel-data", "compressed-as-received", "unsupported-pixels", "does-not-decode", "does-not-rebuild", None}
READS = (
    "metadata",
    "frames/1",
    "frames/1/rendered",
    "rendered",
    "thumbnail",
    "bulkdata/7FE00010",
    "",
)


def corpus() -> list[bytes]:
    return [case.file for case in CASES.values()]


class Houses:
    """An installation, replaced by a fresh one now and then so that none grows large."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = ExitStack()
        self._number = 0

    def fresh(self) -> tuple[Installation, TestClient]:
        self.close()
        self._number += 1
        root = self._folder / f"house-{self._number}"
        installation = self._held.enter_context(open_installation(root))
        client = self._held.enter_context(installation.client())
        self._held.callback(shutil.rmtree, root)
        return installation, client

    def close(self) -> None:
        self._held.close()
        self._held = ExitStack()


def meet(installation: Installation, client: TestClient, seed: str, told: Counter[str]) -> None:
    """One case."""
    dice = random.Random(seed)
    files = corpus_files
    if dice.random() < DOOR_SHARE:
        through_the_door(client, dice, files, told)
        return
    data = damaged(dice.choice(files), files, dice)
    through_the_parts(data, told)
    through_the_store(installation, client, data, dice, told)


def through_the_parts(data: bytes, told: Counter[str]) -> None:
    """Parse, fold, document: each gives an answer or refuses by one of our codes."""
    refusal = refused(data)
    told[f"parse {refusal.code if refusal else 'ok'}"] += 1
    if refusal is not None:
        assert refusal.code in CODES, refusal.code
        assert "ZZSECRET" not in str(refusal)
        return
    folded = fold_file(data, hashlib.sha256(data).hexdigest())
    assert folded.why_kept in KEPT, folded.why_kept
    told[f"fold {folded.why_kept or 'folded'}"] += 1
    json.dumps(dicom_json(data, lambda path: path), allow_nan=False)


def refused(data: bytes) -> InvalidInput | None:
    try:
        parse(data)
    except InvalidInput as error:
        return error
    return None


def through_the_store(
    installation: Installation, client: TestClient, data: bytes, dice: random.Random, told: Counter[str]
) -> None:
    """Land, complete, fold, read by every door, export."""
    images = installation.images
    (landing,) = images.land([Upload(data)], by=OWNER)
    told[f"land {landing.outcome}"] += 1
    if landing.image_set is None:
        assert landing.reason in CODES
        return
    identity = landing.image_set
    if dice.random() < 0.5:
        read_all(client, images.get(identity), landing.instance, dice)
    images.complete(identity, by=OWNER)
    images.fold(identity)
    digest = hashlib.sha256(data).hexdigest()
    mine = [instance for instance in images.instances(identity) if instance.digest == digest]
    assert mine or landing.outcome == "duplicate"  # an older object may have been replaced by a newer one
    for instance in mine:
        assert images.export(instance) == data
    for index in {0, len(images.frames(identity)) - 1}:
        for look in (images.frame, images.pixels, images.preview):
            try:
                look(identity, index)
            except (InvalidInput, errors.NotFound) as error:
                told[f"{look.__name__} {error.code}"] += 1
    read_all(client, images.get(identity), landing.instance, dice)


def read_all(client: TestClient, image_set: object, instance: str | None, dice: random.Random) -> None:
    """What the doors say of an instance: anything but that we are at fault."""
    base = f"/dicomweb/studies/{image_set.study_uid}/series/{image_set.series_uid}/instances/{instance}"  # type: ignore[attr-defined]
    for path in dice.sample(READS, 3):
        answer = client.get(f"{base}/{path}".rstrip("/"))
        assert answer.status_code < 500, (path, answer.status_code, answer.text[:300])
    for path in ("", "/thumbnail", "/frames/0"):
        answer = client.get(f"/api/v1/image-sets/{image_set.id}{path}")  # type: ignore[attr-defined]
        assert answer.status_code < 500, (path, answer.status_code, answer.text[:300])


def through_the_door(client: TestClient, dice: random.Random, files: list[bytes], told: Counter[str]) -> None:
    """A STOW body of sound and damaged files."""
    parts = [damaged(dice.choice(files), files, dice) if dice.random() < 0.6 else dice.choice(files) for _ in range(2)]
    body, content_type = multipart(parts[: dice.choice((0, 1, 1, 2))], dice)
    study = dice.choice(("", "", "/1.2.3", "/9.9"))
    headers = {"Content-Type": content_type.encode("latin-1", "replace"), "Accept": "application/dicom+json"}
    answer = client.post(f"/dicomweb/studies{study}", content=body, headers=headers)
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert "ZZSECRET" not in answer.text
    told[f"stow {answer.status_code}"] += 1


def main(seed: int, first: int, count: int, folder: Path) -> Iterator[str]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    told: Counter[str] = Counter()
    houses = Houses(folder)
    slowest, begun = (0.0, ""), time.monotonic()
    installation, client = houses.fresh()
    for number in range(first, first + count):
        if (number - first) % HOUSE_CASES == 0:
            installation, client = houses.fresh()
            gc.collect()
        case = f"{seed}-{number}"
        (folder / "case").write_text(case)
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        at = time.monotonic()
        meet(installation, client, case, told)
        faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, (time.monotonic() - at, case))
    houses.close()
    isolated._pool().close()
    yield json.dumps(
        {
            "cases": count,
            "seconds": round(time.monotonic() - begun, 1),
            "slowest_s": round(slowest[0], 2),
            "slowest": slowest[1],
            "own_mb": peak_kb() >> 10,
            "codecs_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
            "told": dict(sorted(told.items())),
        }
    )


def peak_kb() -> int:
    """The most memory that this program had; `ru_maxrss` would count what the process had been before its exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


corpus_files = corpus()

if __name__ == "__main__":
    for line in main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])):
        print(line)
