"""Metadata documents, as tests look at them."""

import gzip
import json
from typing import Any


def metadata_of(client: Any, datastore: str, image_set: str, **version: str) -> dict[str, Any]:
    """The metadata document, unpacked as AWS's own samples do it."""
    told = client.get_image_set_metadata(datastoreId=datastore, imageSetId=image_set, **version)
    assert (told["contentType"], told["contentEncoding"]) == ("application/json", "gzip")
    document: dict[str, Any] = json.loads(gzip.decompress(told["imageSetMetadataBlob"].read()))
    return document


def series_of(document: dict[str, Any]) -> dict[str, Any]:
    (series,) = document["Study"]["Series"].values()
    found: dict[str, Any] = series
    return found


def instances_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(series_of(document)["Instances"].values())


def frames_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame for instance in instances_of(document) for frame in instance["ImageFrames"]]


def as_bytes(**document: Any) -> bytes:
    return json.dumps({"SchemaVersion": 1.1, **document}).encode()
