# ruff: noqa: INP001 — part of programs that are run by themselves
"""What a viewer streams of an image set, as it lies in S3 for CloudFront; see docs/stream.md."""

import gzip
import struct
from typing import TYPE_CHECKING

import numpy as np
from lab_servers import LabFailed
from lab_studies import digest, headers_of

from radloop.aws.clients import client
from radloop.codec.htj2k import decode
from radloop.core.tables import IMAGE_SETS

if TYPE_CHECKING:
    from lab_golden import Walk

_MAGIC = b"RLSI"
_HEADER = struct.Struct("<4sHHIIIIB3xI")


def layered(walk: "Walk") -> str:
    """What a viewer streams lies in S3: a range of a frame pack is one slice, as it was put in."""
    bucket, s3 = walk.applied.installation["buckets"]["stream"], client("s3")
    rows = walk.cloud.platform.records.find(IMAGE_SETS)
    slices = 0
    for row in rows:
        folder = f"packs/{row.key}/{row.document['version']}"

        def laid(folder: str = folder) -> set[str]:
            listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/").get("Contents", ())
            return {str(each["Key"]).removeprefix(f"{folder}/") for each in listed}

        there = walk.until(laid, lambda found: "index" in found, lambda found: f"no index, but {sorted(found)}")
        if not {"previews/0", "frames/0"} <= there:
            raise LabFailed(f"{folder} has an index and only {sorted(there)}")
        index = gzip.decompress(s3.get_object(Bucket=bucket, Key=f"{folder}/index")["Body"].read())
        found, at = [], 0
        for length in lengths_of(index):
            told = s3.get_object(Bucket=bucket, Key=f"{folder}/frames/0", Range=f"bytes={at}-{at + length - 1}")
            found.append(digest(decode(told["Body"].read())))
            at += length
        study = walk.truth[str(row.columns["study_uid"])]
        if sorted(found) != sorted(digest(header.pixel_array) for header in headers_of(study)):
            raise LabFailed(f"the ranges of {folder}/frames/0 are not the slices that were put in")
        slices += len(found)
    return f"{slices} ranges of {len(rows)} frame packs are the slices that were put in"


def lengths_of(index: bytes) -> list[int]:
    """Bytes of every frame, in order, out of the index of a stream; see docs/stream.md.

    >>> lengths_of(_HEADER.pack(b"RLSI", 1, 32, 2, 1, 0, 1, 0, 2) + b"{}" + struct.pack("<2I", 7, 9))
    [7, 9]
    """
    magic, _, at, count, _, _, _, _, length = _HEADER.unpack_from(index)
    if magic != _MAGIC:
        raise LabFailed("the index of a stream is none")
    return [int(each) for each in np.frombuffer(index, "<u4", count, at + length)]
