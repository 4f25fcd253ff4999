from contextlib import suppress
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from starlette.datastructures import QueryParams

from radloop.api.rendered import rendering_of
from radloop.core.errors import InvalidInput
from tests.api.dicomweb.asking import BASE, SERIES, STUDY, UIDS, address_of, file_of, stow
from tests.api.installation import TestClient
from tests.dicom.files import ct, encapsulated, written

ONE = f"{SERIES}/instances/{UIDS[0]}"
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def picture(answer: Any) -> NDArray[Any]:
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    return np.asarray(
        {"image/jpeg": imagecodecs.jpeg8_decode, "image/png": imagecodecs.png_decode}[kind](answer.content)
    )


def png(client: TestClient, path: str, query: str = "") -> NDArray[Any]:
    return picture(client.get(f"{path}/rendered{query}", headers={"Accept": "image/png"}))


def shown(client: TestClient, pixels: NDArray[Any], query: str = "", **attributes: Any) -> NDArray[Any]:
    data = file_of(pixels, **attributes)
    assert stow(client, [data]).status_code == 200
    return png(client, address_of(data), query)


@pytest.mark.parametrize("path", [STUDY, SERIES, ONE, f"{ONE}/frames/1"])
def test_pictures_are_had_at_every_level_and_say_what_they_are(stored: TestClient, path: str) -> None:
    for below, longest in (("rendered", 64), ("thumbnail", 128)):
        answer = stored.get(f"{path}/{below}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-radloop-quality"] == "rendered, lossy"
        assert answer.headers["content-location"].startswith(f"{BASE}{SERIES}/instances/")
        assert max(picture(answer).shape) == longest
        png_answer = stored.get(f"{path}/{below}", headers={"Accept": "image/png"})
        assert png_answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/png, image/jpeg;q=0.5", "image/png"),
        ("image/gif, image/png;q=0.1", "image/png"),
        ("text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8", "image/jpeg"),
    ],
)
def test_the_most_wanted_kind_of_picture_is_sent(stored: TestClient, accept: str, kind: str) -> None:
    assert stored.get(f"{ONE}/rendered", headers={"Accept": accept}).headers["content-type"] == kind


def test_an_accept_in_the_query_counts_before_the_header(stored: TestClient) -> None:
    answer = stored.get(f"{ONE}/rendered?accept=image/png", headers={"Accept": "image/jpeg"})
    assert answer.headers["content-type"] == "image/png"


def test_pictures_in_another_form_are_not_to_be_had(stored: TestClient) -> None:
    for accept in ("image/gif", "application/dicom", "video/mp4", "text/html"):
        assert stored.get(f"{ONE}/rendered", headers={"Accept": accept}).status_code == 406


def test_a_window_in_the_query_counts_before_that_of_the_file(client: TestClient) -> None:
    found = shown(
        client,
        RAMP,
        "?window=128,256,linear",
        WindowCenter="10",
        WindowWidth="4",
        RescaleSlope="1",
        RescaleIntercept="0",
    )
    assert np.array_equal(found, RAMP.astype(np.uint8))
    narrow = png(client, "/dicomweb/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4.1")
    assert set(np.unique(narrow)) <= {0, 85, 170, 255}, "three grey steps of the window 10/4"


def test_windows_are_in_rescaled_values(client: TestClient) -> None:
    found = shown(client, RAMP, "?window=-872,256,linear", RescaleSlope="1", RescaleIntercept="-1000")
    assert np.array_equal(found, RAMP.astype(np.uint8))


def test_the_three_functions_of_a_window_differ_as_the_standard_has_them(client: TestClient) -> None:
    linear = shown(client, RAMP, "?window=128,128,linear", RescaleSlope="1", RescaleIntercept="0")
    path = "/dicomweb/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4.1"
    exact = png(client, path, "?window=128,128,linear-exact")
    sigmoid = png(client, path, "?window=128,128,sigmoid")
    values = RAMP.astype(np.float64)
    expected = {
        "linear": ((values - 127.5) / 127 + 0.5),
        "exact": ((values - 128) / 128 + 0.5),
        "sigmoid": 1 / (1 + np.exp(-4 * (values - 128) / 128)),
    }
    for name, found in {"linear": linear, "exact": exact, "sigmoid": sigmoid}.items():
        wanted = np.clip(expected[name], 0, 1) * 255
        assert np.abs(found - wanted).max() <= 0.51, name


def test_monochrome1_is_shown_the_other_way_round(client: TestClient) -> None:
    found = shown(
        client,
        RAMP,
        "?window=128,256,linear",
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope="1",
        RescaleIntercept="0",
    )
    assert np.array_equal(found, 255 - RAMP.astype(np.uint8))


def test_colour_is_shown_as_it_is_and_ybr_as_rgb(client: TestClient) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert np.array_equal(shown(client, rgb), rgb)
    ybr = np.full((8, 8, 3), (76, 85, 255), np.uint8)
    data = file_of(ybr, 2, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0)
    stow(client, [data])
    red = png(client, address_of(data))
    assert np.abs(red.astype(int) - (254, 0, 0)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_painted(client: TestClient, bits: int) -> None:
    tables = np.random.default_rng(1).integers(0, 256, (3, 256))
    data_set = ct(np.arange(64, dtype=np.uint8).reshape(8, 8), PhotometricInterpretation="PALETTE COLOR")
    for place, colour in enumerate(("Red", "Green", "Blue")):
        setattr(data_set, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        words = tables[place].astype("<u2") << (8 if bits == 16 else 0)
        value = words.tobytes() if bits == 16 else tables[place].astype(np.uint8).tobytes()
        setattr(data_set, f"{colour}PaletteColorLookupTableData", value)
    data = written(data_set)
    stow(client, [data])
    assert np.array_equal(png(client, address_of(data)), tables.T[:64].reshape(8, 8, 3))


@pytest.mark.parametrize(
    ("viewport", "shape"),
    [
        ("32,32", (32, 32)),
        ("32%2C16", (16, 16)),
        ("8,100", (8, 8)),
        ("128,128", (128, 128)),
        ("16,16,0,0,8,4", (8, 16)),
        ("16,16,,,8,", (16, 8)),
        ("4,4,8,8,8,8", (4, 4)),
    ],
)
def test_a_picture_fits_its_viewport_and_keeps_its_proportions(
    client: TestClient, viewport: str, shape: tuple[int, int]
) -> None:
    assert shown(client, RAMP, f"?viewport={viewport}").shape == shape


def test_a_part_of_the_frame_is_shown_and_mirrored_where_it_is_negative(client: TestClient) -> None:
    options = "window=128,256,linear"
    ramp = {"RescaleSlope": "1", "RescaleIntercept": "0"}
    part = shown(client, RAMP, f"?viewport=8,4,2,3,8,4&{options}", **ramp)
    assert np.array_equal(part, RAMP[3:7, 2:10])
    path = "/dicomweb/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4.1"
    assert np.array_equal(png(client, path, f"?viewport=8,4,2,3,-8,-4&{options}"), RAMP[3:7, 2:10][::-1, ::-1])


def test_a_smaller_picture_has_the_mean_of_what_it_covers(client: TestClient) -> None:
    checks = np.indices((64, 64)).sum(axis=0).astype(np.uint16) % 2 * 200
    small = shown(client, checks, "?viewport=8,8&window=100,200,linear-exact", RescaleSlope="1", RescaleIntercept="0")
    assert np.abs(small.astype(int) - 127).max() <= 8, "no pattern of its own"


def test_quality_makes_a_jpeg_smaller(stored: TestClient) -> None:
    sizes = [len(stored.get(f"{ONE}/rendered?quality={quality}").content) for quality in (5, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


@pytest.mark.parametrize(
    "query",
    [
        "quality=0", "quality=101", "quality=x", "quality=1.5",
        "window=40", "window=40,0", "window=40,-5", "window=a,b", "window=40,400,cubic", "window=1,0.5,linear",
        "window=1,2,linear,4",
        "window=nan,5", "window=1e400,5",
        "viewport=0,10", "viewport=10", "viewport=10,x", "viewport=99999,10", "viewport=8192,8192",
        "viewport=10,10,1,1",
        "viewport=10,10,0,0,0,5", "viewport=10,10,-1,0,5,5", "viewport=10,10,a,0,5,5", "viewport=10,10,500,500,5,5",
        "annotation=patient", "iccprofile=yes",
    ],
)  # fmt: skip
def test_a_parameter_that_makes_no_sense_is_400(stored: TestClient, query: str) -> None:
    assert stored.get(f"{ONE}/rendered?{query}").status_code == 400


@given(st.text(max_size=30), st.sampled_from(["viewport", "window", "quality"]))
def test_any_parameter_is_read_or_refused(text: str, name: str) -> None:
    with suppress(InvalidInput):
        found = rendering_of(QueryParams({name: text}), "image/jpeg")
        assert 1 <= found.quality <= 100
        assert found.window is None or found.window.width > 0
        assert found.viewport is None or 0 < found.viewport.width * found.viewport.height <= 1 << 25


def test_frames_are_shown_one_at_a_time(stored: TestClient) -> None:
    for numbers, status in {"1": 200, "2": 404, "0": 400, "x": 400, "1,1": 400}.items():
        assert stored.get(f"{ONE}/frames/{numbers}/rendered").status_code == status, numbers


def test_what_has_no_pixels_is_404(client: TestClient) -> None:
    report = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", Rows=None, Columns=None)
    del report.PixelData
    data = written(report)
    stow(client, [data])
    one = address_of(data)
    for path in (one, f"{one}/frames/1", one.rpartition("/instances")[0], one.partition("/series")[0]):
        for below in ("rendered", "thumbnail"):
            assert client.get(f"{path}/{below}").status_code == 404


def test_what_no_codec_takes_is_406_and_not_a_failure(client: TestClient) -> None:
    data = encapsulated(ct(np.zeros((8, 8), np.uint8)), [b"\xff" * 64], "1.2.840.10008.1.2.4.90")
    stow(client, [data])
    answer = client.get(f"{address_of(data)}/rendered")
    assert (answer.status_code, answer.json()["error"]["code"]) in {
        (406, "unsupported-pixels"),
        (406, "does-not-decode"),
    }


def test_frames_of_one_value_are_shown_too(client: TestClient) -> None:
    for number, dtype in enumerate((np.uint8, np.int16, np.uint16)):
        flat = file_of(np.zeros((4, 4), dtype), number, PixelRepresentation=int(np.dtype(dtype).kind == "i"))
        stow(client, [flat])
        assert png(client, address_of(flat)).shape == (4, 4)


def test_a_picture_is_not_sent_twice(stored: TestClient) -> None:
    tag = stored.get(f"{ONE}/rendered").headers["etag"]
    assert stored.get(f"{ONE}/rendered", headers={"If-None-Match": tag}).status_code == 304
    assert stored.get(f"{ONE}/rendered?window=1,2", headers={"If-None-Match": tag}).status_code == 200


def test_a_study_is_shown_by_its_middle_frame(stored: TestClient) -> None:
    slices = stored.get(f"{SERIES}/metadata").json()
    middle = slices[len(slices) // 2]["00080018"]["Value"][0]
    assert middle in stored.get(f"{STUDY}/thumbnail").headers["content-location"]
