"""How long a reader's requests of the DICOMweb door take: python bench/dicomweb.py [SLICES]. A table, nothing kept."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import httpx

from radloop.dicom.phantom import phantom_study

KIND = 'multipart/related; type="application/dicom"; boundary=cut'


def main(slices: int = 256) -> None:
    study = phantom_study(7, consolidated=True, slices=slices, size=512)
    with tempfile.TemporaryDirectory() as home:
        command = [
            sys.executable,
            "-m",
            "radloop.cli",
            "up",
            "--open",
            "--no-tls",
            "--no-dimse",
            "--listen",
            "127.0.0.1:0",
        ]
        server = subprocess.Popen([*command, "--home", home], stdout=subprocess.PIPE, text=True)
        try:
            url = next(word for word in server.stdout.readline().split() if word.startswith("http"))  # type: ignore[union-attr]
            with httpx.Client(base_url=url.removesuffix("/app/"), timeout=120) as client:
                store(client, study.files)
                measure(client, f"/dicomweb/studies/{study.study_uid}/series/{study.series_uid}")
        finally:
            server.terminate()
            server.wait(timeout=30)


def store(client: httpx.Client, files: Sequence[bytes]) -> None:
    begun = time.perf_counter()
    for at in range(0, len(files), 16):
        parts = (b"--cut\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % data for data in files[at : at + 16])
        body = b"".join(parts) + b"--cut--"
        client.post("/dicomweb/studies", content=body, headers={"Content-Type": KIND}).raise_for_status()
    seconds = time.perf_counter() - begun
    print(f"{'store, 16 a request':42} {len(files) / seconds:7.0f} instances/s")


def measure(client: httpx.Client, series: str) -> None:
    uids = [each["00080018"]["Value"][0] for each in client.get(f"{series}/instances?limit=1000").json()]

    def get(path: str, accept: str = "*/*") -> Callable[[int], httpx.Response]:
        return lambda turn: client.get(path.format(uid=uids[turn % len(uids)]), headers={"Accept": accept})

    one = f"{series}/instances/{{uid}}"
    told("search: studies", get("/dicomweb/studies?limit=25"))
    told(f"search: {len(uids)} instances of a series", get(f"{series}/instances?limit=1000"))
    told("metadata of the series, first time", get(f"{series}/metadata"), turns=1)
    told("metadata of the series, again", get(f"{series}/metadata"))
    for name, path, accept in (
        ("frame, raw", f"{one}/frames/1", 'multipart/related; type="application/octet-stream"'),
        ("frame, HTJ2K", f"{one}/frames/1", 'multipart/related; type="image/jphc"'),
        ("frame, JPEG-LS", f"{one}/frames/1", "image/jls"),
        ("rendered, JPEG", f"{one}/rendered", "image/jpeg"),
        ("thumbnail", f"{one}/thumbnail", "image/jpeg"),
    ):
        told(name, get(path, accept))


def told(name: str, ask: Callable[[int], httpx.Response], turns: int = 100) -> None:
    took = []
    for turn in range(turns):
        begun = time.perf_counter()
        answer = ask(turn)
        took.append(1e3 * (time.perf_counter() - begun))
        answer.raise_for_status()
    took.sort()
    p50, p99 = statistics.median(took), took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{name:42} p50 {p50:7.1f}  p99 {p99:7.1f} ms  {len(answer.content):9,} bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
