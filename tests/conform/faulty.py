"""A tiny DICOMweb server in memory, right by default, in which faults can be planted by name.

It shares no line with ours: pydicom reads, imagecodecs decodes, http.server speaks.
"""
# ruff: noqa: C901, PLR0911, PLR0912 — a whole server with all its faults in one class

import gzip
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import imagecodecs
import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.datadict import dictionary_keyword, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

ROOT = "/dw"
EXPLICIT = "1.2.840.10008.1.2.1"
NATIVE = {"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
REQUIRED = {
    "study": "StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName PatientID "
    "PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances",
    "series": "Modality SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances StudyInstanceUID PatientID",
    "instance": "SOPClassUID SOPInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames "
    "SeriesInstanceUID StudyInstanceUID",
}
OF_STUDY = {*REQUIRED["study"].split(), "StudyDescription"}
SEARCHED = {*OF_STUDY, *REQUIRED["series"].split(), *REQUIRED["instance"].split()}
CONTROLS = {"limit", "offset", "includefield", "fuzzymatching"}

Answered = tuple[int, dict[str, str], bytes]


class Refused(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Stored:
    data: bytes
    ds: Dataset

    @property
    def syntax(self) -> str:
        return str(self.ds.file_meta.TransferSyntaxUID)


@dataclass
class Faulty:
    """What is stored, what is planted, and all answers."""

    faults: frozenset[str] = frozenset()
    stored: dict[str, Stored] = field(default_factory=dict)
    doubles: list[Stored] = field(default_factory=list)
    address: str = ""
    died: bool = False

    def has(self, fault: str) -> bool:
        assert fault in FAULTS, fault
        return fault in self.faults

    # STOW

    def store(self, path: str, headers: dict[str, str], body: bytes) -> Answered:
        kind, parameters = media(headers.get("content-type", ""))
        if not self.has("stow-html") and not any(m[0] in {JSON, "application/json", "*/*"} for m in accepts(headers)):
            raise Refused(406)
        if kind == "application/dicom" and not self.has("stow-only-multipart"):
            parts = [body]
        elif kind == "multipart/related" or (self.has("stow-any-type") and kind):
            parts = self.cut(body, headers.get("content-type", ""), parameters)
        else:
            raise Refused(415)
        study = path.split("/")[2] if path.count("/") > 1 else None
        if study is not None and not re.fullmatch(r"[0-9.]{1,64}", study):
            raise Refused(400)
        if not parts:
            return (200, {"Content-Type": JSON}, b"{}") if self.has("stow-nothing-is-success") else (204, {}, b"")
        done, failed = [], []
        for data in parts:
            try:
                done.append(self.take(data, study))
            except ValueError as error:
                failed.append((error.args[0], error.args[1] if len(error.args) > 1 else None))
        if failed and done and self.has("stow-all-or-nothing-told"):
            for ds in done:
                self.stored.pop(str(ds.SOPInstanceUID), None)
        status = 200 if not failed else 202 if done else 409
        if failed and done and self.has("stow-partial-is-400"):
            status = 400
        return status, {"Content-Type": JSON}, json.dumps(self.report(done, failed)).encode()

    def cut(self, body: bytes, header: str, parameters: dict[str, str]) -> list[bytes]:
        boundary = parameters.get("boundary", "")
        if self.has("stow-quotes-kept") and "boundary=" in header:
            boundary = header.partition("boundary=")[2].split(";")[0].strip()
        if not boundary:
            raise Refused(400)
        mark = (b"" if self.has("stow-boundary-anywhere") else b"\r\n") + b"--" + boundary.encode()
        pieces = (b"\r\n" + body).split(mark)
        if len(pieces) < 2 or (not pieces[-1].startswith(b"--") and not self.has("stow-end-not-needed")):
            raise Refused(400)
        last = None if self.has("stow-end-not-needed") and not pieces[-1].startswith(b"--") else -1
        found = []
        for piece in pieces[1:last]:
            whole = piece.removesuffix(b"\r\n") if self.has("stow-boundary-anywhere") else piece
            head, _, data = whole.partition(b"\r\n\r\n")
            named = re.search(rb"(?i)content-type:\s*([^\r\n;]+)", head)
            if named and named[1].strip() != b"application/dicom":
                raise Refused(415)
            found.append(data)
        return found

    def take(self, data: bytes, study: str | None) -> Dataset:
        try:
            ds = dcmread(BytesIO(data))
            trim(ds)
            uids = str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)
            ds.to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "x")
        except Exception:  # noqa: BLE001 — pydicom raises whatever it meets in a broken file
            raise ValueError(0xC000) from None
        if study not in {None, uids[0]} and not self.has("stow-any-study"):
            raise ValueError(0xA901, ds)
        if "PixelData" in ds and str(ds.file_meta.TransferSyntaxUID) in NATIVE and not self.has("stow-short-pixels"):
            size = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8 * int(ds.get("NumberOfFrames", 1))
            if len(ds.PixelData) < size:
                raise ValueError(0xA900, ds)
        if uids[2] in self.stored:
            if self.has("stow-doubles"):
                self.doubles.append(Stored(data, ds))
            if self.has("stow-first-wins"):
                return ds
        self.stored[uids[2]] = Stored(data, ds)
        return ds

    def report(self, done: list[Dataset], failed: list[tuple[int, Dataset | None]]) -> dict[str, Any]:
        def item(ds: Dataset | None) -> dict[str, Any]:
            if ds is None:
                return {"00081150": {"vr": "UI"}, "00081155": {"vr": "UI"}}
            named = {"00081155": {"vr": "UI", "Value": [str(ds.SOPInstanceUID)]}}
            if not self.has("stow-class-not-named"):
                named["00081150"] = {"vr": "UI", "Value": [str(ds.SOPClassUID)]}
            return named

        report: dict[str, Any] = {"00081190": {"vr": "UR"}}
        if failed:
            reasons = [
                {} if self.has("stow-no-reason") else {"00081197": {"vr": "US", "Value": [f[0]]}} for f in failed
            ]
            items = [{**item(ds), **reason} for (_, ds), reason in zip(failed, reasons, strict=True)]
            report["00081198"] = {"vr": "SQ", "Value": items}
        if done:
            items = [{**item(ds), "00081190": {"vr": "UR", "Value": [self.url(ds)]}} for ds in done]
            report["00081199"] = {"vr": "SQ", "Value": items}
        return report

    def url(self, ds: Dataset, level: str = "instance", host: str | None = None) -> str:
        base = f"http://{host}{ROOT}" if host and self.has("urls-from-host") else self.address
        url = f"{base}/studies/{ds.StudyInstanceUID}"
        url += f"/series/{ds.SeriesInstanceUID}" if level != "study" else ""
        return url + (f"/instances/{ds.SOPInstanceUID}" if level == "instance" else "")

    # QIDO

    def search(self, level: str, within: dict[str, str], query: str, headers: dict[str, str]) -> Answered:
        if not self.has("qido-any-accept"):
            self.want_json(headers)
        decode = (lambda text: text) if self.has("qido-not-decoded") else unquote
        pairs = [(k, decode(v)) for k, _, v in (pair.partition("=") for pair in query.split("&") if pair)]
        wanted, extra = dict(within), {}
        limit, offset, fields, fuzzy = 1000, 0, [], False
        warnings = []
        for name, value in pairs:
            if name in {"limit", "offset"}:
                if not value.isdigit():
                    if self.has("qido-bad-numbers-ignored"):
                        continue
                    raise Refused(400)
                number = int(value)
                limit, offset = (number, offset) if name == "limit" else (limit, number)
            elif name == "includefield":
                fields += value.split(",")
            elif name == "fuzzymatching":
                fuzzy = value == "true"
            else:
                keyword = dictionary_keyword(int(name, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name
                if keyword not in SEARCHED:
                    if self.has("qido-unknown-ignored"):
                        continue
                    raise Refused(400)
                extra[keyword] = value
        if fuzzy and not self.has("qido-fuzzy-silent"):
            warnings.append('299 faulty "The fuzzymatching parameter is not supported."')
        for keyword, value in extra.items():
            if keyword == "StudyDate" and value and not re.fullmatch(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}", value):
                if self.has("qido-bad-date-ignored"):
                    continue
                raise Refused(400)
            if value:
                wanted[keyword] = value
        rows = [row for row in self.rows(level, fields) if all(self.matches(row, k, v) for k, v in wanted.items())]
        if self.has("qido-offset-wraps"):
            offset %= 1 << 32
        if self.has("qido-offset-ignored"):
            offset = 0
        shown = rows[offset:] if self.has("qido-limit-ignored") else rows[offset : offset + limit]
        if len(rows) > offset + len(shown) and not self.has("qido-no-warning"):
            warnings.append(f'299 faulty "There are {len(rows) - offset - len(shown)} more."')
        told = {"Warning": ", ".join(warnings)} if warnings else {}
        if not shown:
            return (200, {"Content-Type": JSON, **told}, b"[]") if self.has("qido-empty-list") else (204, told, b"")
        documents = [self.document(row, level, headers.get("host")) for row in shown]
        return 200, {"Content-Type": JSON, **told}, json.dumps(documents).encode()

    def rows(self, level: str, fields: list[str]) -> list[Dataset]:
        named = {
            dictionary_keyword(int(name, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name for name in fields
        }
        if "all" in named:
            named |= {"StudyDescription"}
        if self.has("qido-include-ignored"):
            named = set()
        groups: dict[str, list[Dataset]] = {}
        everything = [*self.stored.values(), *self.doubles]
        for place, each in enumerate(everything):
            key = {"study": each.ds.StudyInstanceUID, "series": each.ds.SeriesInstanceUID}.get(level, place)
            groups.setdefault(str(key), []).append(each.ds)
        found = []
        for members in groups.values():
            row = Dataset()
            row.SpecificCharacterSet = "ISO_IR 192"
            keep = (
                {*REQUIRED[level].split(), *OF_STUDY, *named}
                if level != "study"
                else {*REQUIRED["study"].split(), *named}
            )
            for keyword in keep:
                setattr(row, keyword, members[0].get(keyword))
            row.ModalitiesInStudy = sorted({ds.Modality for ds in members})
            row.NumberOfStudyRelatedSeries = len({ds.SeriesInstanceUID for ds in members})
            row.NumberOfStudyRelatedInstances = len(members) + self.has("qido-wrong-counts")
            row.NumberOfSeriesRelatedInstances = len(members)
            found.append(row)
        return found

    def matches(self, row: Dataset, keyword: str, wanted: str) -> bool:
        value = "" if row.get(keyword) is None else row.get(keyword)
        vr = dictionary_VR(tag_for_keyword(keyword))  # type: ignore[arg-type]
        texts = (
            [str(each) for each in value]
            if isinstance(value, list) or (vr == "CS" and not isinstance(value, str))
            else [str(value)]
        )
        if vr == "UI":
            uids = [wanted] if self.has("qido-one-uid") else re.split(r"[,\\]", wanted)
            return str(value) in uids
        if vr == "DA":
            if self.has("qido-ranges-exact") or "-" not in wanted:
                return str(value) == wanted
            first, _, last = wanted.partition("-")
            if self.has("qido-range-without-end"):
                return (not first or str(value) >= first) and (not last or str(value) < last)
            return (not first or str(value) >= first) and (not last or str(value) <= last)
        marks = {} if self.has("qido-no-wildcards") else {"*": ".*", "?": "."}
        pattern = "".join(marks.get(letter, re.escape(letter)) for letter in wanted)
        flags = re.IGNORECASE if vr == "PN" and not self.has("qido-case-matters") else 0
        if vr == "PN":
            texts = [texts[0], *texts[0].split("=")]
        return any(re.fullmatch(pattern, text, flags) for text in texts)

    def document(self, row: Dataset, level: str, host: str | None) -> dict[str, Any]:
        document = row.to_json_dict()
        document["00081190"] = {"vr": "UR", "Value": [self.url(row, level, host)]}
        if self.has("qido-empty-left-out"):
            document = {tag: element for tag, element in document.items() if element.get("Value")}
        document = dict(sorted(document.items()))
        if self.has("json-unordered"):
            document = dict(sorted(document.items(), reverse=True))
        return self.spoilt(document)

    def spoilt(self, document: dict[str, Any]) -> dict[str, Any]:
        name = document.get("00100010", {}).get("Value")
        if name and self.has("json-names-as-text"):
            document["00100010"]["Value"] = [name[0].get("Alphabetic", "")]
        if name and self.has("json-first-group-only"):
            document["00100010"]["Value"] = [{"Alphabetic": name[0].get("Alphabetic", "")}]
        if name and self.has("json-mojibake"):
            groups = {group: text.encode().decode("latin-1") for group, text in name[0].items()}
            document["00100010"]["Value"] = [groups]
        return document

    # WADO

    def want_json(self, headers: dict[str, str]) -> None:
        kinds = accepts(headers)
        if not any(m[0] in {JSON, "application/json", "*/*", "application/*"} for m in kinds):
            raise Refused(406)

    def at(self, uids: dict[str, str]) -> list[Stored]:
        found = [s for s in self.stored.values() if all(str(s.ds.get(k)) == uid for k, uid in uids.items())]
        if self.has("any-parent"):
            last = list(uids.items())[-1]
            found = [s for s in self.stored.values() if str(s.ds.get(last[0])) == last[1]]
        if any(not re.fullmatch(r"[0-9.]{1,64}", uid) for uid in uids.values()):
            raise Refused(400)
        if not found:
            raise Refused(404)
        return found

    def metadata(self, uids: dict[str, str], headers: dict[str, str]) -> Answered:
        if not self.has("metadata-any-accept"):
            self.want_json(headers)
        try:
            found = self.at(uids)
        except Refused:
            if self.has("metadata-empty-for-unknown"):
                return 200, {"Content-Type": JSON}, b"[]"
            raise
        body = json.dumps([self.meta(each) for each in found]).encode()
        tag = '"always"' if self.has("etag-constant") else f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        told = {"Content-Type": JSON, **self.cached(tag)}
        if self.has("json-charset"):
            told["Content-Type"] = "application/json"
        if self.unchanged(headers, tag):
            return 304, told, b"not so empty" if self.has("304-with-body") else b""
        if "gzip" in headers.get("accept-encoding", "") and not self.has("never-gzip"):
            body, told["Content-Encoding"] = gzip.compress(body), "gzip"
        return 200, told, body

    def cached(self, tag: str) -> dict[str, str]:
        control = "public, max-age=3600" if self.has("cached-for-all") else "private, no-cache"
        return {"Cache-Control": control} if self.has("no-etag") else {"ETag": tag, "Cache-Control": control}

    def unchanged(self, headers: dict[str, str], tag: str) -> bool:
        asked = headers.get("if-none-match")
        if asked is None or self.has("never-304") or self.has("no-etag"):
            return False
        if self.has("304-to-all"):
            return True
        return any(each.strip().removeprefix("W/") in {tag, "*"} for each in asked.split(","))

    def meta(self, stored: Stored) -> dict[str, Any]:
        ds = Dataset()
        ds.update({element.tag: element for element in stored.ds})
        pixels = ds.pop("PixelData", None)
        base = f"{self.url(stored.ds)}/bulkdata"
        inline = self.has("bulkdata-inline")
        document = ds.to_json_dict(
            bulk_data_threshold=1 << 30 if inline else 1024,
            bulk_data_element_handler=lambda element: f"{base}/{element.tag:08X}",
        )
        if pixels is not None:
            uri = {"vr": "OW", "BulkDataURI": f"{base}/7FE00010"}
            document["7FE00010"] = {"vr": "OW", "InlineBinary": "AAAA"} if self.has("metadata-with-pixels") else uri
        if self.has("metadata-no-private"):
            document = {tag: element for tag, element in document.items() if int(tag[:4], 16) % 2 == 0}
        if self.has("metadata-no-sequences"):
            document = {tag: element for tag, element in document.items() if element["vr"] != "SQ"}
        for element in document.values():
            if element.get("Value") == [] or element.get("Value") == [""]:
                del element["Value"]
        document = dict(sorted(document.items()))
        if self.has("json-unordered"):
            document = dict(sorted(document.items(), reverse=True))
        if self.has("metadata-small-letters"):
            document = {tag.lower(): element for tag, element in document.items()}
        if self.has("metadata-wrong-rows") and "00280010" in document:
            document["00280010"]["Value"] = [7]
        return self.spoilt(document)

    def bulk(self, uids: dict[str, str], tag: str, headers: dict[str, str]) -> Answered:
        stored = self.at(uids)[0]
        if int(tag, 16) not in stored.ds:
            raise Refused(404)
        if tag == "7FE00010":
            value = b"".join(native(frame) for frame in pixels_of(stored))
        else:
            value = stored.ds[int(tag, 16)].value
        if self.has("bulkdata-cut"):
            value = value[:-2]
        for kind, parameters in accepts(headers):
            if kind in {OCTETS, "*/*"}:
                return 200, {"Content-Type": OCTETS}, value
            if kind == "multipart/related" and parameters.get("type", OCTETS) in {OCTETS, "*/*"}:
                return self.multipart(OCTETS, [(OCTETS, value, "")])
        raise Refused(406)

    def files(self, uids: dict[str, str], headers: dict[str, str]) -> Answered:
        found = self.at(uids)
        if self.has("series-first-only"):
            found = found[:1]
        for kind, parameters in accepts(headers):
            syntax = parameters.get("transfer-syntax", EXPLICIT if kind != "*/*" else "*")
            inner = parameters.get("type", "application/dicom") if kind == "multipart/related" else None
            if (
                (kind == "application/dicom" and len(found) == 1)
                or kind == "*/*"
                or inner in {"application/dicom", "*/*"}
            ):
                try:
                    data = [self.in_syntax(each, syntax) for each in found]
                except KeyError:
                    continue
                if kind == "application/dicom":
                    return 200, {"Content-Type": kind}, data[0]
                return self.multipart("application/dicom", [("application/dicom", each, "") for each in data])
        raise Refused(406)

    def in_syntax(self, stored: Stored, syntax: str) -> bytes:
        if self.has("file-without-preamble"):
            return stored.data[132:]
        if self.has("file-loses-private"):
            ds = dcmread(BytesIO(stored.data))
            ds.remove_private_tags()
            return written(ds)
        if self.has("any-syntax-as-stored") or syntax in {"*", stored.syntax}:
            return stored.data
        if syntax != EXPLICIT or stored.syntax not in NATIVE:
            raise KeyError(syntax)
        ds = dcmread(BytesIO(stored.data))
        if "PixelData" in ds:
            raw = b"".join(native(frame) for frame in pixels_of(stored))
            ds.PixelData = raw + b"\0" * (len(raw) % 2)
        return written(ds)

    def frames(self, uids: dict[str, str], numbers: str, headers: dict[str, str]) -> Answered:
        stored = self.at(uids)[0]
        wanted = unquote(numbers).split(",")
        if not all(number.isdigit() for number in wanted) or any(int(number) < 1 for number in wanted):
            raise Refused(500 if self.has("frame-zero-is-500") else 400)
        if "PixelData" not in stored.ds:
            raise Refused(404)
        count = int(stored.ds.get("NumberOfFrames", 1))
        if any(int(number) > count for number in wanted):
            raise Refused(400 if self.has("absent-frame-is-400") else 404)
        for kind, parameters in accepts(
            headers, quotes_matter=self.has("accept-needs-quotes"), case_matters=self.has("accept-small-letters")
        ):
            form = self.form(kind, parameters, stored, len(wanted))
            if form:
                return self.shown(stored, [int(number) for number in wanted], form, kind, headers)
            if self.has("first-accept-only"):
                break
        raise Refused(400 if self.has("406-is-400") else 406)

    def form(self, kind: str, parameters: dict[str, str], stored: Stored, count: int) -> str | None:
        syntax = parameters.get("transfer-syntax", "*")
        if kind == OCTETS and count == 1 and not self.has("no-single-part"):
            return OCTETS
        inner = {"*/*": "*/*", "multipart/related": parameters.get("type", "*/*")}.get(kind, "").lower()
        if self.has("wild-type-refused") and kind == "multipart/related" and inner == "*/*":
            return None
        if inner in {OCTETS, "*/*"} and (syntax in {"*", EXPLICIT} or self.has("any-syntax-as-stored")):
            return OCTETS
        if inner == "image/jp2" and syntax in {"*", "1.2.840.10008.1.2.4.90"}:
            return "image/jp2"
        if inner == "image/jls" and self.has("dies-of-jpeg-ls"):
            self.died = True
            raise ConnectionError
        if inner == "image/jpeg" and stored.syntax == "1.2.840.10008.1.2.4.50" and syntax in {"*", stored.syntax}:
            return "image/jpeg"
        return OCTETS if self.has("never-406") else None

    def shown(self, stored: Stored, numbers: list[int], form: str, kind: str, headers: dict[str, str]) -> Answered:
        if form == "image/jpeg":
            raw = list(generate_frames(stored.ds.PixelData, number_of_frames=1))
            if self.has("first-fragment-only"):
                raw = [raw[0][: len(raw[0]) // 2]]
            parts = [raw[number - 1] for number in numbers]
        else:
            pixels = pixels_of(stored, swap=not self.has("big-endian-as-is"))
            shift = 1 if self.has("frames-from-zero") else 0
            chosen = [pixels[(number - 1 + shift) % len(pixels)] for number in numbers]
            if self.has("frames-in-one"):
                chosen = chosen[:1]
            if self.has("one-grey-wrong"):
                chosen = [each.copy() for each in chosen]
                chosen[0].flat[3] += 1
            parts = [native(each) for each in chosen]
            if form == "image/jp2":
                rate = {"level": 30} if self.has("jpeg-2000-lossy") else {"reversible": True, "level": 0}
                parts = [bytes(imagecodecs.jpeg2k_encode(each, codecformat="J2K", **rate)) for each in chosen]
            elif self.has("frames-padded-to-even"):
                parts = [each + b"\0" * (len(each) % 2) for each in parts]
        tag = f'"{hashlib.sha256(b"".join(parts) + form.encode() + kind.encode()).hexdigest()[:16]}"'
        if self.unchanged(headers, tag):
            return 304, self.cached(tag), b""
        if kind == OCTETS:
            return self.ranged(parts[0], {"Content-Type": OCTETS, **self.cached(tag)}, tag, headers)
        places = [f"{self.url(stored.ds)}/frames/{number}" for number in numbers]
        typed = form if not self.has("parts-without-type") else ""
        status, told, body = self.multipart(form, [(typed, *each) for each in zip(parts, places, strict=False)])
        return status, {**told, **self.cached(tag)}, body

    def ranged(self, whole: bytes, told: dict[str, str], tag: str, headers: dict[str, str]) -> Answered:
        if self.has("no-ranges"):
            return 200, told, whole
        told["Accept-Ranges"] = "bytes"
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
        is_stale = "if-range" in headers and headers["if-range"] != tag and not self.has("if-range-ignored")
        if not asked or is_stale:
            return 200, told, whole
        first = int(asked[1]) if asked[1] else max(0, len(whole) - int(asked[2]))
        last = int(asked[2]) if asked[1] and asked[2] else len(whole) - 1
        if self.has("suffix-from-start") and not asked[1]:
            first, last = 0, int(asked[2])
        last = min(last, len(whole) - 1)
        if first > last:
            raise Refused(416, Content_Range=f"bytes */{len(whole)}")
        if self.has("range-off-by-one"):
            last -= 1
        return 206, {**told, "Content-Range": f"bytes {first}-{last}/{len(whole)}"}, whole[first : last + 1]

    def multipart(self, kind: str, parts: list[tuple[str, bytes, str]]) -> Answered:
        body = b""
        for typed, data, place in parts:
            lines = (f"Content-Type: {typed}\r\n" if typed else "") + (
                f"Content-Location: {place}\r\n" if place else ""
            )
            body += b"--cut\r\n" + lines.encode() + b"\r\n" + data + b"\r\n"
        body += b"" if self.has("multipart-without-end") else b"--cut--\r\n"
        return 200, {"Content-Type": f'multipart/related; type="{kind}"; boundary=cut'}, body

    def rendered(self, uids: dict[str, str], number: str, query: str, headers: dict[str, str], small: bool) -> Answered:
        if small and self.has("no-thumbnails"):
            raise Refused(404)
        stored = self.at(uids)[0]
        if "PixelData" not in stored.ds or int(number) > int(stored.ds.get("NumberOfFrames", 1)):
            raise Refused(404)
        form = next((m[0] for m in accepts(headers) if m[0] in {"image/jpeg", "image/png", "image/*", "*/*"}), None)
        if form is None:
            raise Refused(406)
        asked = dict(parse_qsl(query))
        pixels = pixels_of(stored)[0 if self.has("rendered-first-only") else int(number) - 1].astype(float)
        low, high = pixels.min(), pixels.max()
        if "window" in asked:
            try:
                centre, width = (float(each) for each in asked["window"].split(",")[:2])
            except ValueError:
                raise Refused(500 if self.has("bad-window-is-500") else 400) from None
            if not self.has("window-ignored"):
                low, high = centre - width / 2, centre + width / 2
        if "quality" in asked and not 1 <= int(asked["quality"]) <= 100:
            raise Refused(400)
        grey = (np.clip((pixels - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)
        if self.has("greys-inverted"):
            grey = 255 - grey
        box = [int(each) for each in asked["viewport"].split(",")] if "viewport" in asked else None
        if box and not self.has("viewport-ignored"):
            step = int(np.ceil(max(grey.shape[0] / box[1], grey.shape[1] / box[0])))
            grey = np.ascontiguousarray(grey[::step, ::step])
        if form == "image/png":
            return 200, {"Content-Type": "image/png"}, bytes(imagecodecs.png_encode(grey))
        return 200, {"Content-Type": "image/jpeg"}, bytes(imagecodecs.jpeg8_encode(grey, level=95))

    # Routes

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answered:
        parts = urlsplit(target)
        path = parts.path.removeprefix(ROOT)
        if not parts.path.startswith(ROOT) or re.search(r"%2e|\.\.", path, re.IGNORECASE):
            raise Refused(404)
        if "accept=" in parts.query and not self.has("accept-query-ignored"):
            headers = {**headers, "accept": dict(parse_qsl(parts.query))["accept"]}
        if method == "POST" and re.fullmatch(r"/studies(/[^/]+)?", path):
            return self.store(path, headers, body)
        if method == "DELETE" and re.fullmatch(r"/studies/[^/]+", path):
            self.stored = {k: v for k, v in self.stored.items() if str(v.ds.StudyInstanceUID) != path.split("/")[2]}
            return 204, {}, b""
        if method == "OPTIONS":
            return 204, {"Allow": "GET, POST, DELETE"}, b""
        if method not in {"GET", "HEAD"}:
            raise Refused(405) if self.has("405-without-allow") else Refused(405, Allow="GET, POST, DELETE")
        return self.route(path, parts.query, headers)

    def route(self, path: str, query: str, headers: dict[str, str]) -> Answered:
        levels = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        place = r"/studies/([^/]+)(?:/series/([^/]+)(?:/instances/([^/]+))?)?"
        if re.fullmatch(r"/(studies|series|instances)", path):
            return self.search({"studies": "study", "series": "series"}.get(path[1:], "instance"), {}, query, headers)
        found = re.match(place + r"(/.*)?$", path)
        if not found:
            raise Refused(404)
        uids = {level: uid for level, uid in zip(levels, found.groups()[:3], strict=True) if uid}
        rest = found[4] or ""
        if rest in {"/series", "/instances"}:
            return self.search(rest[1:].removesuffix("s") if rest == "/instances" else "series", uids, query, headers)
        if rest == "":
            return self.files(uids, headers)
        if rest == "/metadata":
            return self.metadata(uids, headers)
        if rest in {"/rendered", "/thumbnail"}:
            return self.rendered(uids, "1", query, headers, rest == "/thumbnail")
        if number := re.fullmatch(r"/frames/(\d+)/rendered", rest):
            return self.rendered(uids, number[1], query, headers, False)
        if numbers := re.fullmatch(r"/frames/([^/]+)", rest):
            return self.frames(uids, numbers[1], headers)
        if tag := re.fullmatch(r"/bulkdata/([0-9A-F]{8})", rest):
            return self.bulk(uids, tag[1], headers)
        raise Refused(404)


def media(header: str) -> tuple[str, dict[str, str]]:
    name, *rest = re.findall(r'(?:"[^"]*"|[^;"])+', header) or [""]
    pairs = (each.partition("=") for each in rest)
    return name.strip().lower(), {k.strip().lower(): v.strip().strip('"') for k, _, v in pairs}


def accepts(
    headers: dict[str, str], *, quotes_matter: bool = False, case_matters: bool = False
) -> list[tuple[str, dict[str, str]]]:
    header = headers.get("accept", "*/*")
    found = []
    for each in re.findall(r'(?:"[^"]*"|[^,"])+', header):
        kind, parameters = media(each)
        if quotes_matter and "type" in parameters and '"' not in each:
            continue
        if case_matters and each.strip() != each.strip().lower():
            continue
        weight = parameters.get("q", "1")
        if kind and weight not in {"0", "0.0"}:
            parameters = {k: v.lower() if k == "type" else v for k, v in parameters.items()}
            found.append((float(weight) if re.fullmatch(r"[0-9.]+", weight) else 0.0, kind, parameters))
    return [(kind, parameters) for _, kind, parameters in sorted(found, key=lambda each: -each[0])]


def trim(ds: Dataset) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, str(getattr(ds, keyword)).strip(" \0"))


def native(frame: Any) -> bytes:
    return frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def written(ds: Dataset) -> bytes:
    out = BytesIO()
    plain = Dataset()
    plain.update({element.tag: element for element in ds})
    plain.file_meta = ds.file_meta
    plain.file_meta.TransferSyntaxUID = EXPLICIT
    dcmwrite(out, plain, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return out.getvalue()


def pixels_of(stored: Stored, *, swap: bool = True) -> list[Any]:
    ds = stored.ds
    count = int(ds.get("NumberOfFrames", 1))
    shape = (ds.Rows, ds.Columns) if ds.SamplesPerPixel == 1 else (ds.Rows, ds.Columns, ds.SamplesPerPixel)
    kind = np.dtype(f"{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}")
    if stored.syntax in NATIVE:
        order = ">" if stored.syntax == "1.2.840.10008.1.2.2" and swap else "<"
        size = int(np.prod(shape)) * kind.itemsize
        cut = [ds.PixelData[place * size : (place + 1) * size] for place in range(count)]
        return [np.frombuffer(each, kind.newbyteorder(order)).reshape(shape).astype(kind) for each in cut]
    raw = list(generate_frames(ds.PixelData, number_of_frames=count))
    if stored.syntax == "1.2.840.10008.1.2.5":
        return [each.copy() for each in ds.pixel_array.reshape(count, *shape)]
    read = {
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
        "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    }[stored.syntax]
    return [np.asarray(read(each)).astype(kind) for each in raw]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: Faulty

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(5)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_all(self) -> None:
        if self.faulty.died:
            self.close_connection = True
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            joined = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
            headers[name.lower()] = joined
        try:
            body = self.body(headers)
            status, told, answer = self.faulty.answer(self.command, self.path, headers, body)
        except Refused as refused:
            status, told, answer = refused.status, refused.headers, b""
        except ConnectionError:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(answer)))
        elif answer:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = handle_all  # noqa: N815 — http.server's names

    def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            if self.faulty.has("no-chunks"):
                self.close_connection = True
                raise Refused(411)
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        told = headers.get("content-length", "0")
        if not told.isdigit():
            self.close_connection = True
            raise Refused(500 if self.faulty.has("bad-length-is-500") else 400)
        body = self.rfile.read(int(told))
        if len(body) < int(told):
            self.close_connection = True
            raise Refused(400)
        return body

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(*faults: str) -> Iterator[str]:
    """The address of a server with these faults."""
    faulty = Faulty(frozenset(faults))
    handler = type("Handler", (_Handler,), {"faulty": faulty})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    faulty.address = f"http://127.0.0.1:{server.server_address[1]}{ROOT}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield faulty.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


FAULTS: dict[str, set[str]] = {
    # fault: the checks that may fail of it, of which at least one must
    "stow-partial-is-400": {
        "stow-good-beside-garbage",
        "stow-into-another-study-in-part",
        "stow-failures-have-a-reason",
    },
    "stow-all-or-nothing-told": {"stow-says-what-it-did"},
    "stow-any-study": {"stow-into-another-study", "stow-into-another-study-in-part", "stow-failures-have-a-reason"},
    "stow-any-type": {"stow-other-content-type"},
    "stow-only-multipart": {"stow-single-part"},
    "stow-html": {"stow-answer-as-html"},
    "stow-first-wins": {"stow-same-uid-other-content"},
    "stow-doubles": {"stow-same-instance-twice"},
    "stow-no-reason": {"stow-failures-have-a-reason"},
    "stow-class-not-named": {"stow-items-name-class-and-instance"},
    "stow-quotes-kept": {"stow-quoted-boundary"},
    "stow-boundary-anywhere": {"stow-almost-a-boundary"},
    "stow-nothing-is-success": {"stow-nothing-sent"},
    "stow-end-not-needed": {"robustness-multipart-without-*", "robustness-shorter-than-sent"},
    "stow-short-pixels": {
        "robustness-pixels-that-break-off",
        "robustness-size-that-lies",
        "robustness-multipart-without-end",
    },
    "no-chunks": {"stow-chunked"},
    "bad-length-is-500": {"robustness-length-that-is-none"},
    "qido-limit-ignored": {"qido-limit", "qido-offset", "qido-more-than-shown"},
    "qido-offset-ignored": {"qido-offset", "qido-offset-past-the-end", "qido-offset-beyond-32-bits"},
    "qido-offset-wraps": {"qido-offset-beyond-32-bits"},
    "qido-not-decoded": {
        "qido-star-percent-encoded",
        "qido-question-mark",
        "qido-by-patient-name",
        "qido-patient-name-in-another-case",
        "charsets-search-*",
    },
    "qido-empty-list": {"qido-no-match", "qido-offset-past-the-end", "qido-offset-beyond-32-bits"},
    "qido-bad-numbers-ignored": {"qido-limit-that-is-no-number", "qido-offset-below-zero"},
    "qido-bad-date-ignored": {"qido-date-that-is-none"},
    "qido-unknown-ignored": {"qido-unknown-attribute"},
    "qido-fuzzy-silent": {"qido-fuzzy"},
    "qido-no-warning": {"qido-more-than-shown"},
    "qido-any-accept": {"qido-as-html", "qido-as-xml"},
    "qido-include-ignored": {"qido-include-*"},
    "qido-wrong-counts": {"qido-counts-are-true"},
    "qido-one-uid": {"qido-list-of-uids"},
    "qido-ranges-exact": {"qido-by-date-range", "qido-by-open-date-range"},
    "qido-range-without-end": {"qido-by-date-range", "qido-by-open-date-range"},
    "qido-no-wildcards": {"qido-star", "qido-star-percent-encoded", "qido-question-mark", "charsets-search-*"},
    "qido-case-matters": {"qido-patient-name-in-another-case"},
    "qido-empty-left-out": {"qido-what-*"},
    "json-unordered": {"qido-order-of-attributes", "metadata-order-of-attributes"},
    "json-names-as-text": {"qido-names-are-objects", "charsets-metadata-*", "charsets-search-result"},
    "json-first-group-only": {"charsets-metadata-japanese", "charsets-metadata-korean", "charsets-search-result"},
    "json-mojibake": {"charsets-metadata-*", "charsets-search-result"},
    "json-charset": {"metadata-any-type-is-dicom-json", "negotiation-accept-in-the-query"},
    "urls-from-host": {"bulkdata-host-without-port"},
    "any-parent": {"metadata-under-another-study"},
    "metadata-any-accept": {"metadata-as-html", "metadata-as-xml", "negotiation-weight-of-zero"},
    "metadata-empty-for-unknown": {"metadata-unknown", "metadata-under-another-study"},
    "metadata-with-pixels": {"metadata-without-pixels"},
    "metadata-no-private": {"metadata-private-attributes", "bulkdata-value-is-true"},
    "metadata-no-sequences": {"metadata-sequences"},
    "metadata-small-letters": {"metadata-*", "bulkdata-*"},
    "metadata-wrong-rows": {"metadata-values-are-true"},
    "bulkdata-cut": {"bulkdata-value-is-true", "bulkdata-pixels-by-uri"},
    "series-first-only": {"instance-series", "instance-study"},
    "file-without-preamble": {"instance-*"},
    "file-loses-private": {"instance-*", "bulkdata-instance-has-it-too"},
    "any-syntax-as-stored": {
        "instance-explicit-is-the-default",
        "instance-unknown-transfer-syntax",
        "frames-unknown-syntax",
    },
    "frame-zero-is-500": {"frames-zero", "frames-no-number"},
    "absent-frame-is-400": {"frames-absent", "frames-absent-in-a-list"},
    "406-is-400": {"frames-unknown-*", "compressed-*", "fatal-*"},
    "never-406": {"frames-unknown-type", "frames-unknown-syntax", "pixels-stored-syntax"},
    "no-single-part": {"frames-single-part", "ranges-*"},
    "wild-type-refused": {"frames-any-type-in-multipart", "frames-multipart-alone"},
    "accept-needs-quotes": {"negotiation-without-quotes"},
    "accept-small-letters": {"negotiation-capitals"},
    "accept-query-ignored": {"negotiation-accept-in-the-query"},
    "first-accept-only": {"negotiation-second-choice", "negotiation-two-accept-lines"},
    "405-without-allow": {"negotiation-method-not-allowed"},
    "parts-without-type": {"frames-*", "pixels-*", "compressed-*"},
    "frames-from-zero": {"frames-list-*", "pixels-many-frames", "pixels-odd-frames", "compressed-bytes-as-jpeg-2000"},
    "frames-in-one": {"frames-list-*", "pixels-many-frames", "pixels-odd-frames"},
    "frames-padded-to-even": {"pixels-odd-frames"},
    "one-grey-wrong": {
        "frames-*",
        "pixels-*",
        "compressed-*-as-jpeg-2000",
        "stow-almost-a-boundary",
        "stow-same-uid-other-content",
    },
    "big-endian-as-is": {"pixels-big-endian"},
    "first-fragment-only": {"pixels-fragments-are-joined"},
    "jpeg-2000-lossy": {"compressed-*-as-jpeg-2000", "pixels-stored-syntax"},
    "multipart-without-end": {"*"},
    "dies-of-jpeg-ls": {"fatal-*"},
    "rendered-first-only": {"rendered-frame"},
    "window-ignored": {"rendered-window", "rendered-greys-are-true"},
    "bad-window-is-500": {"rendered-window-that-is-none"},
    "greys-inverted": {"rendered-window", "rendered-greys-are-true"},
    "viewport-ignored": {"rendered-viewport"},
    "no-thumbnails": {"rendered-thumbnail", "rendered-thumbnail-of-a-series"},
    "no-etag": {"caching-tag-of-*"},
    "etag-constant": {"caching-tag-follows-the-content"},
    "never-304": {"caching-unchanged"},
    "304-to-all": {"caching-changed"},
    "304-with-body": {"caching-unchanged"},
    "cached-for-all": {"caching-not-for-shared-caches"},
    "never-gzip": {"metadata-compressed"},
    "no-ranges": {"ranges-of-a-frame", "ranges-told"},
    "range-off-by-one": {"ranges-*"},
    "suffix-from-start": {"ranges-last-bytes"},
    "if-range-ignored": {"ranges-of-something-else"},
    "bulkdata-inline": set(),
}
"""Each fault and what may fail of it; `bulkdata-inline` is none: an inline value is right, too."""
