"""A client of AWS HealthImaging, for our server and for AWS alike.

    >>> client = HealthImaging("5y6rw0vz6jku5uojzb5fysx3y46i90ta", endpoint="http://127.0.0.1:8080")
    >>> client.url
    'http://127.0.0.1:8080'

It speaks through botocore, so that credentials, retries and signatures are those of every AWS tool, and adds what an
imaging program needs: metadata as values, frames of a whole image set at once, pixels that are proven by their
checksum, and the way back to a Part 10 file. `docs/healthimaging.md` has an example that runs.
"""

import gzip
import hashlib
import hmac
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
import numpy as np
import orjson
from botocore.config import Config
from numpy.typing import NDArray

from radloop.codec.decoders import DECODED, decode_frame
from radloop.core.errors import ChecksumMismatch, InvalidInput, UnsupportedPixels
from radloop.dicom.elements import EXPLICIT_LE
from radloop.dicom.rebuild import part10_of

REGION = "us-east-1"
THREADS = 8

_SERVICE = "medical-imaging"
_LOSSLESS = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"})
_COLOUR = 3


@dataclass(frozen=True, slots=True)
class Found:
    """An image set as a search tells of it; `tags` by DICOM name without the prefix, such as `PatientId`."""

    id: str
    version: int
    is_primary: bool
    created_at: datetime
    updated_at: datetime
    tags: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameMetadata:
    """A frame as the metadata document tells of it.

    Attributes:
        id: Its name.
        checksums: Width, height and CRC-32 of its pixels at every resolution, base to full; may be empty.
        least, greatest: Pixel values; None where they are not known.
        size_bytes: Of the frame, decoded.
    """

    id: str
    checksums: tuple[tuple[int, int, int], ...]
    least: float | None
    greatest: float | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class InstanceMetadata:
    """An instance as the metadata document tells of it.

    Attributes:
        attributes: Of patient, study, series and instance, by keyword.
        vrs: The VRs of attributes that stand under their tag.
        transfer_syntax: What its frames come in.
    """

    sop_uid: str
    attributes: Mapping[str, Any]
    vrs: Mapping[str, str]
    transfer_syntax: str
    frames: tuple[FrameMetadata, ...]


@dataclass(frozen=True, slots=True)
class ImageSetMetadata:
    """A metadata document; instances in the order it has them."""

    id: str
    datastore: str
    patient: Mapping[str, Any]
    study: Mapping[str, Any]
    series: Mapping[str, Any]
    instances: tuple[InstanceMetadata, ...]

    @property
    def frames(self) -> tuple[FrameMetadata, ...]:
        """Every frame, instance by instance."""
        return tuple(frame for instance in self.instances for frame in instance.frames)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came: its bytes, and the media type that tells what they are."""

    id: str
    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Presigned:
    """A request that anyone who holds it may send until it expires: exactly these bytes, by this method."""

    method: str
    url: str
    body: bytes


class HealthImaging:
    """One data store of a radloop server or of AWS HealthImaging.

    Args:
        datastore: Its id.
        endpoint: Address of a radloop server; None for AWS.
        region: Of AWS; any will do for our server.
        access_key, secret_key: None for what botocore finds by itself (environment, profile, role).
        runtime_host: Whether calls about image sets go to the name `runtime-<host>`, as AWS has them. By default only
            where there is no `endpoint`.
        tries: How often a call is tried that fails for a reason that may pass.
        threads: Frames that are asked for at the same time.
    """

    def __init__(
        self,
        datastore: str,
        *,
        endpoint: str | None = None,
        region: str = REGION,
        access_key: str | None = None,
        secret_key: str | None = None,
        runtime_host: bool | None = None,
        tries: int = 4,
        threads: int = THREADS,
    ) -> None:
        session = botocore.session.get_session()
        self.datastore = datastore
        self._runtime = endpoint is None if runtime_host is None else runtime_host
        self._is_aws = endpoint is None
        self._threads = threads
        self._client = session.create_client(
            _SERVICE,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                inject_host_prefix=self._runtime,
                max_pool_connections=threads,
                retries={"mode": "standard", "total_max_attempts": tries},
            ),
        )
        self._credentials = session.get_credentials() if access_key is None else None
        self._keys = (access_key, secret_key)
        self._region = region

    @property
    def url(self) -> str:
        """Where it calls."""
        return str(self._client.meta.endpoint_url)

    @property
    def dicomweb_url(self) -> str:
        """Where the same data store speaks DICOMweb: at AWS under another name, here under the same."""
        parts = urlsplit(self.url)
        host = parts.netloc if not self._is_aws else f"dicom-{parts.netloc}"
        return f"{parts.scheme}://{host}/datastore/{self.datastore}"

    # finding

    def search(
        self,
        *,
        patient_id: str | None = None,
        accession_number: str | None = None,
        study_id: str | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
        is_primary: bool | None = None,
        studied: tuple[date, date] | None = None,
        created: tuple[datetime, datetime] | None = None,
        updated: tuple[datetime, datetime] | None = None,
    ) -> Iterator[Found]:
        """Image sets that meet all conditions, at most two; the last changed first, page by page as they are read.

        Raises:
            InvalidInput: More than two conditions, which is what the service takes.
        """
        texts = {
            "DICOMPatientId": patient_id,
            "DICOMAccessionNumber": accession_number,
            "DICOMStudyId": study_id,
            "DICOMStudyInstanceUID": study_uid,
            "DICOMSeriesInstanceUID": series_uid,
            "isPrimary": is_primary,
        }
        filters: list[dict[str, Any]] = [
            {"operator": "EQUAL", "values": [{name: value}]} for name, value in texts.items() if value is not None
        ]
        days = None if studied is None else [{"DICOMStudyDate": f"{day:%Y%m%d}"} for day in studied]
        ranges: dict[str, Sequence[Any] | None] = {
            "DICOMStudyDateAndTime": days,
            "createdAt": created,
            "updatedAt": updated,
        }
        for name, ends in ranges.items():
            if ends is not None:
                filters.append({"operator": "BETWEEN", "values": [{name: end} for end in ends]})
        if len(filters) > 2:  # noqa: PLR2004 — the service's own limit
            raise InvalidInput("a search takes at most two conditions")
        criteria = {"filters": filters} if filters else {}
        pages = self._client.get_paginator("search_image_sets").paginate(
            datastoreId=self.datastore, searchCriteria=criteria
        )
        for page in pages:
            for each in page["imageSetsMetadataSummaries"]:
                yield _found(each)

    # reading

    def metadata(self, image_set: str, version: int | None = None) -> ImageSetMetadata:
        """The metadata of an image set, read and taken apart."""
        more = {} if version is None else {"versionId": str(version)}
        told = self._client.get_image_set_metadata(datastoreId=self.datastore, imageSetId=image_set, **more)
        data = told["imageSetMetadataBlob"].read()
        return metadata_of(orjson.loads(gzip.decompress(data) if told.get("contentEncoding") == "gzip" else data))

    def frame(self, image_set: str, name: str) -> Frame:
        """One frame."""
        told = self._client.get_image_frame(
            datastoreId=self.datastore, imageSetId=image_set, imageFrameInformation={"imageFrameId": name}
        )
        return Frame(name, told["imageFrameBlob"].read(), told.get("contentType", "application/octet-stream"))

    def frames(self, image_set: str, names: Iterable[str] | None = None) -> Iterator[Frame]:
        """Frames in order, several asked for at a time, never more than twice as many ahead as there are threads.

        Args:
            image_set: Whose.
            names: Which; every one, in the order of the metadata, without it.
        """
        wanted = (frame.id for frame in self.metadata(image_set).frames) if names is None else iter(names)
        ahead: deque[Future[Frame]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for name in wanted:
                    ahead.append(pool.submit(self.frame, image_set, name))
                    if len(ahead) >= 2 * self._threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def to_numpy(self, image_set: str | ImageSetMetadata) -> list[NDArray[Any]]:
        """Every frame decoded, in the order of the metadata, each proven by its checksum.

        Returns:
            Stored values: (rows, columns), or (rows, columns, 3) RGB. `np.stack` makes a volume of frames of one size.

        Raises:
            ChecksumMismatch: A frame decodes to other pixels than the metadata tells.
            UnsupportedPixels: No codec of ours decodes a frame.
        """
        metadata = self.metadata(image_set) if isinstance(image_set, str) else image_set
        frames = self.frames(metadata.id, [frame.id for frame in metadata.frames])
        owners = [(instance, frame) for instance in metadata.instances for frame in instance.frames]
        return [pixels_of(found, *owner) for found, owner in zip(frames, owners, strict=True)]

    def to_part10(self, image_set: str | ImageSetMetadata) -> Iterator[bytes]:
        """Every instance as a Part 10 file again.

        Pixels are exact: uncompressed where they were kept losslessly, the codestream itself where they were not.
        The file is not, byte for byte, the one that was imported (`radloop.dicom.rebuild` tells how it differs), and
        edits made since the import are in it.

        Raises:
            ChecksumMismatch: A frame decodes to other pixels than the metadata tells.
            UnsupportedPixels: No codec of ours decodes a frame.
        """
        metadata = self.metadata(image_set) if isinstance(image_set, str) else image_set
        frames = self.frames(metadata.id, [frame.id for frame in metadata.frames])
        for instance in metadata.instances:
            yield _part10(instance, [next(frames) for _ in instance.frames])

    # handing over

    def presigned_frame(self, image_set: str, name: str, *, expires_s: int = 900) -> Presigned:
        """A request for one frame that needs no credentials until it expires."""
        return self._presigned(image_set, "getImageFrame", orjson.dumps({"imageFrameId": name}), expires_s)

    def presigned_metadata(self, image_set: str, *, expires_s: int = 900) -> Presigned:
        """A request for the metadata document that needs no credentials until it expires."""
        return self._presigned(image_set, "getImageSetMetadata", b"", expires_s)

    def _presigned(self, image_set: str, operation: str, body: bytes, expires_s: int) -> Presigned:
        """Signature Version 4 in the query, over the body too (AWS "Signing and authenticating REST requests")."""
        parts = urlsplit(self.url)
        host = f"runtime-{parts.netloc}" if self._runtime else parts.netloc
        path = f"/datastore/{self.datastore}/imageSet/{image_set}/{operation}"
        now = datetime.now(UTC)
        access, secret, token = self._signing_keys()
        scope = f"{now:%Y%m%d}/{self._region}/{_SERVICE}/aws4_request"
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{access}/{scope}",
            "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
            **({"X-Amz-Security-Token": token} if token else {}),
        }
        told = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
        canonical = "\n".join(["POST", path, told, f"host:{host}\n", "host", hashlib.sha256(body).hexdigest()])
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = f"AWS4{secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return Presigned("POST", f"{parts.scheme}://{host}{path}?{told}&X-Amz-Signature={signature}", body)

    def _signing_keys(self) -> tuple[str, str, str | None]:
        access, secret = self._keys
        if access is not None and secret is not None:
            return access, secret, None
        if self._credentials is None:
            raise InvalidInput("a presigned request needs credentials")
        frozen = self._credentials.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token


def metadata_of(document: Mapping[str, Any]) -> ImageSetMetadata:
    """A metadata document, taken apart.

    Raises:
        KeyError: It is not of the shape of one.
    """
    patient, study = document["Patient"]["DICOM"], document["Study"]["DICOM"]
    ((_, series),) = document["Study"]["Series"].items()
    common = {**patient, **study, **series["DICOM"]}
    return ImageSetMetadata(
        id=document["ImageSetID"],
        datastore=document["DatastoreID"],
        patient=patient,
        study=study,
        series=series["DICOM"],
        instances=tuple(_instance(name, each, common) for name, each in series["Instances"].items()),
    )


def pixels_of(frame: Frame, instance: InstanceMetadata, told: FrameMetadata) -> NDArray[Any]:
    """The pixels of a frame, held to their checksum where the metadata has one.

    Returns:
        Stored values: (rows, columns), or (rows, columns, 3) RGB; packed bits as they came, uint8 (bytes), where there
        is one bit a pixel.

    Raises:
        ChecksumMismatch: They are others than the metadata tells.
        UnsupportedPixels: No codec of ours decodes them.
    """
    attributes, syntax = instance.attributes, instance.transfer_syntax
    bits, samples = int(attributes["BitsAllocated"]), int(attributes.get("SamplesPerPixel") or 1)
    is_signed = attributes.get("PixelRepresentation") == 1
    rows, columns = int(attributes["Rows"]), int(attributes["Columns"])
    if syntax == EXPLICIT_LE:
        _prove(frame.data, told)
        return _native(frame.data, rows, columns, samples=samples, bits=bits, is_signed=is_signed)
    if syntax not in DECODED:
        raise UnsupportedPixels(f"no codec of ours decodes transfer syntax {syntax}")
    pixels = decode_frame(
        frame.data,
        syntax,
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=bits,
        bits_stored=int(attributes.get("BitsStored") or bits),
        signed=is_signed,
        # what was made HTJ2K is RGB, whatever the file said; what came compressed is what it says
        photometric="RGB" if syntax in _LOSSLESS else str(attributes.get("PhotometricInterpretation") or ""),
    )
    _prove(np.ascontiguousarray(pixels).tobytes(), told)
    return pixels


def _prove(pixels: bytes, told: FrameMetadata) -> None:
    if told.checksums and zlib.crc32(pixels) != told.checksums[-1][2]:
        raise ChecksumMismatch(f"frame {told.id} decodes to other pixels than its metadata tells")


def _native(data: bytes, rows: int, columns: int, *, samples: int, bits: int, is_signed: bool) -> NDArray[Any]:
    if bits % 8:
        return np.frombuffer(data, np.uint8)
    pixels = np.frombuffer(data, f"<{'i' if is_signed else 'u'}{bits // 8}")
    return pixels.reshape((rows, columns, samples) if samples > 1 else (rows, columns))


def _part10(instance: InstanceMetadata, frames: Sequence[Frame]) -> bytes:
    """An instance and its frames as a file."""
    attributes, syntax = dict(instance.attributes), instance.transfer_syntax
    if not frames:
        return part10_of(attributes, instance.vrs, [])
    if syntax not in _LOSSLESS:
        return part10_of(attributes, instance.vrs, [frame.data for frame in frames], transfer_syntax=syntax)
    pixels = [pixels_of(frame, instance, told) for frame, told in zip(frames, instance.frames, strict=True)]
    if pixels[0].ndim == _COLOUR:
        attributes |= {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    native = [each.astype(each.dtype.newbyteorder("<"), copy=False).tobytes() for each in pixels]
    return part10_of(attributes, instance.vrs, native)


def _found(told: Mapping[str, Any]) -> Found:
    tags = {name.removeprefix("DICOM"): value for name, value in told.get("DICOMTags", {}).items()}
    return Found(
        id=told["imageSetId"],
        version=told.get("version", 1),
        is_primary=told.get("isPrimary", True),
        created_at=told["createdAt"],
        updated_at=told["updatedAt"],
        tags=tags,
    )


def _instance(name: str, told: Mapping[str, Any], common: Mapping[str, Any]) -> InstanceMetadata:
    frames = tuple(
        FrameMetadata(
            id=frame["ID"],
            checksums=tuple(
                (each["Width"], each["Height"], each["Checksum"])
                for each in frame.get("PixelDataChecksumFromBaseToFullResolution") or ()
            ),
            least=frame.get("MinPixelValue"),
            greatest=frame.get("MaxPixelValue"),
            size_bytes=frame.get("FrameSizeInBytes", 0),
        )
        for frame in told.get("ImageFrames", ())
    )
    return InstanceMetadata(
        sop_uid=name,
        attributes={**common, **told["DICOM"]},
        vrs=told.get("DICOMVRs") or {},
        transfer_syntax=told.get("StoredTransferSyntaxUID", "1.2.840.10008.1.2.4.202"),
        frames=frames,
    )
