import subprocess
import sys
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from radloop.codec.decoders import decode_frame
from radloop.codec.htj2k import decode
from tests.api.dicomweb.asking import (
    BASE,
    HTJ2K,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    OTHER,
    PHANTOM,
    RPCL,
    SERIES,
    UIDS,
    address_of,
    dataset,
    file_of,
    parts,
    signed_slice,
    stow,
    whole_parts,
)
from tests.api.installation import Installation, TestClient
from tests.dicom.files import EXPLICIT_BE, IMPLICIT_LE, ct, encapsulated, swapped, written

FRAMES = f"{SERIES}/instances/{UIDS[0]}/frames"
RAW = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
LOSSLESS = {"image/jls": JPEG_LS, "image/jp2": JPEG_2000, "image/jphc": RPCL, "image/jph": RPCL}


def get(client: TestClient, data: bytes, accept: str, number: int | str = 1, **headers: str) -> Any:
    return client.get(f"{address_of(data)}/frames/{number}", headers={"Accept": accept, **headers})


def decoded(body: bytes, syntax: str, like: NDArray[Any], bits_stored: int) -> NDArray[Any]:
    return decode_frame(
        body,
        syntax,
        rows=like.shape[0],
        columns=like.shape[1],
        samples=1 if like.ndim == 2 else 3,
        bits_allocated=like.itemsize * 8,
        bits_stored=bits_stored,
        signed=like.dtype.kind == "i",
        photometric="MONOCHROME2" if like.ndim == 2 else "RGB",
    )


@pytest.mark.parametrize("kind", ["image/jph", "image/jphc"])
@pytest.mark.parametrize("syntax", ["", "; transfer-syntax=*", f"; transfer-syntax={RPCL}"])
def test_frames_come_as_htj2k(stored: TestClient, kind: str, syntax: str) -> None:
    ((told, body),) = parts(stored.get(f"{FRAMES}/1", headers={"Accept": f'multipart/related; type="{kind}"{syntax}'}))
    assert told == f"{kind}; transfer-syntax={RPCL}"
    assert np.array_equal(decode(body), dataset(PHANTOM.files[0]).pixel_array)


def test_folded_frames_are_sent_as_they_are_stored(installation: Installation, stored: TestClient) -> None:
    (identity,) = [item["id"] for item in stored.get("/api/v1/worklist").json()["items"] if item["storage"] == "folded"]
    own = {installation.images.frame(identity, index)[0] for index in range(4)}
    sent = {
        parts(
            stored.get(f"{SERIES}/instances/{uid}/frames/1", headers={"Accept": 'multipart/related; type="image/jphc"'})
        )[0][1]
        for uid in UIDS
    }
    assert sent == own


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "multipart/related",
        'multipart/related; type="*/*"',
        'multipart/related; type="application/octet-stream"',
        "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
        "multipart/related;   type =  application/octet-stream ;transfer-syntax=*",
        'multipart/related; type="*/*"; transfer-syntax=*',
        'multipart/related; type="video/mp4", multipart/related;type="application/octet-stream"; q=0.1',
    ],
)
def test_frames_come_raw_when_asked_or_when_anything_will_do(stored: TestClient, accept: str) -> None:
    for data in (PHANTOM.files[2], OTHER.files[0]):
        ((told, body),) = parts(get(stored, data, accept))
        assert (told, body) == (RAW, dataset(data).PixelData)


def test_one_frame_may_come_without_multipart(stored: TestClient) -> None:
    for data in (PHANTOM.files[2], OTHER.files[0]):
        single = get(stored, data, "application/octet-stream")
        assert (single.content, single.headers["content-type"]) == (dataset(data).PixelData, RAW)
    assert stored.get(f"{FRAMES}/1,1", headers={"Accept": "application/octet-stream"}).status_code == 406


def test_several_accept_headers_count_as_one(stored: TestClient) -> None:
    headers = [("Accept", "video/mp4"), ("Accept", 'multipart/related; type="image/jls"')]
    answer = stored.get(f"{FRAMES}/1", headers=headers)
    assert parts(answer)[0][0] == f"image/jls; transfer-syntax={JPEG_LS}"


def test_the_most_wanted_form_is_sent_first(stored: TestClient) -> None:
    accept = 'multipart/related; type="image/jls"; q=0.2, multipart/related; type="image/jp2"; q=0.7'
    assert (
        parts(stored.get(f"{FRAMES}/1", headers={"Accept": accept}))[0][0] == f"image/jp2; transfer-syntax={JPEG_2000}"
    )


@pytest.mark.parametrize("media", LOSSLESS)
@pytest.mark.parametrize("bits", [12, 16])
def test_signed_pixels_come_right_in_every_lossless_codec(client: TestClient, media: str, bits: int) -> None:
    pixels = signed_slice() if bits == 16 else np.clip(signed_slice(), -2048, 2047)
    data = file_of(pixels, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=1)
    assert stow(client, [data]).status_code == 200
    for accept in (media, f'multipart/related; type="{media}"; transfer-syntax={LOSSLESS[media]}'):
        answer = get(client, data, accept)
        body = answer.content if accept == media else parts(answer)[0][1]
        assert np.array_equal(decoded(body, LOSSLESS[media], pixels, bits), pixels)
    assert client.get("/healthz").status_code == 200


def test_asking_for_signed_pixels_as_jpeg_ls_does_not_end_the_server(client: TestClient) -> None:
    """The request that ends Orthanc 1.10 with its GDCM plugin, many times over and in all its spellings."""
    data = file_of(signed_slice(), PixelRepresentation=1)
    stow(client, [data])
    for accept in (
        f'multipart/related; type="image/jls"; transfer-syntax={JPEG_LS}',
        f"multipart/related; type=image/x-jls; transfer-syntax={JPEG_LS}",
        f"image/jls; transfer-syntax={JPEG_LS}",
    ) * 5:
        answer = get(client, data, accept)
        body = answer.content if accept.startswith("image") else parts(answer)[0][1]
        unsigned = imagecodecs.jpegls_decode(body)
        assert np.array_equal(unsigned.view(np.int16), signed_slice())


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        *product(("uint8", "int8", "uint16", "int16"), ((5, 7), (1, 9), (9, 1), (1, 1))),
        ("uint8", (6, 4, 3)),
        ("uint16", (6, 4, 3)),
    ],
)
def test_frames_of_any_type_and_shape_are_right_or_refused(
    client: TestClient, dtype: str, shape: tuple[int, ...]
) -> None:
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(1).integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    data = file_of(pixels, PixelRepresentation=int(dtype.startswith("int")))
    assert stow(client, [data]).status_code == 200
    bits = pixels.itemsize * 8
    for media, syntax in LOSSLESS.items():
        answer = get(client, data, media)
        if answer.status_code == 200:
            assert np.array_equal(decoded(answer.content, syntax, pixels, bits), pixels), media
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (406, "unsupported-pixels"), media
            assert min(shape[:2]) == 1, media
    assert get(client, data, "application/octet-stream").content == pixels.tobytes()


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_BE])
def test_raw_frames_are_little_endian_whatever_the_file_was(client: TestClient, syntax: str) -> None:
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1001
    data_set = ct(pixels)
    if syntax == EXPLICIT_BE:
        data_set["PixelData"]._value = swapped(pixels)
    data = written(data_set, syntax)
    stow(client, [data])
    assert parts(get(client, data, "*/*")) == [(RAW, pixels.tobytes())]


def test_raw_colour_comes_as_it_stands_in_the_file(client: TestClient) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (6, 4, 3)).astype(np.uint8)
    for number, photometric in enumerate(("RGB", "YBR_FULL")):
        data = file_of(pixels, number, PhotometricInterpretation=photometric, PlanarConfiguration=0)
        stow(client, [data])
        assert get(client, data, "application/octet-stream").content == pixels.tobytes()


def jpeg_files(frames: int = 2) -> tuple[bytes, list[bytes]]:
    pixels = np.random.default_rng(5).integers(0, 255, (16, 16)).astype(np.uint8)
    streams = [imagecodecs.jpeg8_encode(np.roll(pixels, shift, 0), level=80) for shift in range(frames)]
    streams = [bytes(stream) + b"\0" * (len(stream) % 2) for stream in streams]
    data_set = ct(pixels, SOPInstanceUID="1.2.3.4.50", PhotometricInterpretation="MONOCHROME2")
    return encapsulated(data_set, streams, JPEG), streams


def test_lossy_frames_pass_through_as_they_came(client: TestClient) -> None:
    data, streams = jpeg_files()
    assert stow(client, [data]).status_code == 200
    for accept, media in {
        'multipart/related; type="image/jpeg"': "image/jpeg",
        f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}': "image/jpeg",
        "multipart/related; type=application/octet-stream; transfer-syntax=*": "application/octet-stream",
        'multipart/related; type="*/*"; transfer-syntax=*': "image/jpeg",
    }.items():
        found = parts(get(client, data, accept, "1,2"))
        assert found == [(f"{media}; transfer-syntax={JPEG}", stream) for stream in streams], accept
    raw = parts(get(client, data, "*/*", 2))
    assert raw == [(RAW, np.asarray(imagecodecs.jpeg8_decode(streams[1])).tobytes())]


def test_frames_that_no_codec_takes_are_still_had_as_they_came(client: TestClient) -> None:
    stream = bytes(range(200)) + b"\0\0"
    syntax = "1.2.840.10008.1.2.4.93"
    data = encapsulated(ct(np.zeros((8, 8), np.uint8), SOPInstanceUID="1.2.3.4.93"), [stream], syntax)
    assert stow(client, [data]).status_code == 200
    for accept in ("*/*", 'multipart/related; type="*/*"; transfer-syntax=*'):
        assert parts(get(client, data, accept)) == [(f"image/jpx; transfer-syntax={syntax}", stream)]
    assert get(client, data, 'multipart/related; type="application/octet-stream"').status_code == 406
    assert get(client, data, 'multipart/related; type="image/jls"').status_code == 406


@pytest.mark.parametrize(
    "accept",
    [
        "image/jpeg",
        'multipart/related; type="image/jpeg"',
        "multipart/form-data",
        "text/plain",
        f'multipart/related; type="image/jph"; transfer-syntax={JPEG_LS}',
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2",
        "*/*;q=0",
        "",
    ],
)
def test_what_cannot_be_made_is_not_acceptable(stored: TestClient, accept: str) -> None:
    answer = stored.get(f"{FRAMES}/1", headers={"Accept": accept})
    if accept == "":
        assert answer.status_code == 200, "nothing said is anything"
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not-acceptable")


def test_frames_that_are_not_there_are_404_and_what_is_no_number_is_400(stored: TestClient) -> None:
    numbers = {"2": 404, "1,2": 404, "99": 404, "0": 400, "x": 400, "1,": 400, "-1": 400, "9" * 30: 400, "1;2": 400}
    for text, status in numbers.items():
        assert stored.get(f"{FRAMES}/{text}").status_code == status, text
    assert len(parts(stored.get(f"{FRAMES}/1,1"))) == 2
    assert stored.get(f"{SERIES}/instances/1.2.3/frames/1").status_code == 404


def test_every_part_says_where_it_is(stored: TestClient) -> None:
    found = whole_parts(stored.get(f"{FRAMES}/1,1"))
    assert [headers["content-location"] for headers, _ in found] == [f"{BASE}{FRAMES}/1"] * 2
    single = stored.get(f"{FRAMES}/1", headers={"Accept": "image/jphc"})
    assert single.headers["content-location"] == f"{BASE}{FRAMES}/1"


def test_frames_are_not_sent_twice(stored: TestClient) -> None:
    tags = set()
    for accept in ("image/jphc", "image/jls", "*/*"):
        first = stored.get(f"{FRAMES}/1", headers={"Accept": accept})
        tags.add(first.headers["etag"])
        again = stored.get(f"{FRAMES}/1", headers={"Accept": accept, "If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(tags) == 3, "each form is its own"


def test_ranges_of_a_single_frame_are_cut_out(stored: TestClient) -> None:
    whole = stored.get(f"{FRAMES}/1", headers={"Accept": "image/jphc"})
    assert whole.headers["accept-ranges"] == "bytes"
    data = whole.content
    for text, start, end in (("0-99", 0, 100), ("100-", 100, len(data)), ("-7", len(data) - 7, len(data))):
        part = stored.get(f"{FRAMES}/1", headers={"Accept": "image/jphc", "Range": f"bytes={text}"})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
        assert part.headers["etag"] == whole.headers["etag"]
    behind = stored.get(f"{FRAMES}/1", headers={"Accept": "image/jphc", "Range": f"bytes={len(data)}-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(data)}")
    old = {"Accept": "image/jphc", "Range": "bytes=0-9", "If-Range": '"old"'}
    assert stored.get(f"{FRAMES}/1", headers=old).status_code == 200


def test_compressed_frames_of_strangers_are_decoded_in_another_process() -> None:
    """The doors import the codecs for what we wrote ourselves; what others wrote goes through `decode_isolated`."""
    code = (
        "import sys, radloop.codec.decoders as d\n"
        "def refuse(*a, **k): raise AssertionError('decoded in the doors')\n"
        "d.decode_frame = refuse\n"
        "import radloop.api.app, radloop.store.folding as f\n"
        "assert not hasattr(f, 'decode_frame') and f.decode_isolated.__module__ == 'radloop.codec.isolated'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_frame_of_htj2k_passes_through_in_its_own_transfer_syntax(client: TestClient) -> None:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    stream = bytes(imagecodecs.htj2k_encode(pixels))
    stream += b"\0" * (len(stream) % 2)
    data = encapsulated(ct(pixels, SOPInstanceUID="1.2.3.4.201"), [stream], HTJ2K)
    stow(client, [data])
    ((told, body),) = parts(get(client, data, 'multipart/related; type="image/jphc"'))
    assert (told, body) == (f"image/jphc; transfer-syntax={HTJ2K}", stream)
    ((told, body),) = parts(get(client, data, f'multipart/related; type="image/jphc"; transfer-syntax={RPCL}'))
    assert told == f"image/jphc; transfer-syntax={RPCL}"
    assert np.array_equal(decode(body), pixels)
