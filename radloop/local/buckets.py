"""The Buckets port on the folders of a home, and beyond them on whatever else there is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from radloop.core.errors import InvalidInput, TooLarge
from radloop.core.ports import Bucket, Buckets, Span
from radloop.local.blobs import FileBlobs

OURS = frozenset({"drafts", "image-sets", "model-artifacts", "preprocessed-data", "training-data"})
"""Buckets that every home has, whether or not anything lies in them yet."""


class FileBuckets:
    """The Buckets port on the folders below `objects`; every other name is asked of `beyond`, if there is that.

    What lies here goes before what is called the same elsewhere.

    Args:
        blobs: Of the home.
        beyond: Gives the other buckets, when the first of them is asked for; None where there are none.
    """

    def __init__(self, blobs: FileBlobs, beyond: Callable[[], Buckets] | None = None) -> None:
        self._blobs = blobs
        self._beyond = beyond

    def open(self, name: str) -> Bucket:
        """See `Buckets.open`."""
        path = self._blobs.path(name)
        if "/" not in name and (name in OURS or path.is_dir()):
            return _FileBucket(self._blobs, name)
        if self._beyond is None:
            raise InvalidInput(
                f"bucket {name} is none of this installation, which reads no others: for those of S3, install "
                "radloop with its extra aws"
            )
        return self._beyond().open(name)


@dataclass(frozen=True, slots=True)
class _FileBucket:
    """One folder; `FileBlobs` makes it atomic and durable."""

    blobs: FileBlobs
    name: str

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Bucket.keys`."""
        for key in self.blobs.keys(f"{self.name}/{prefix}"):
            yield key.removeprefix(f"{self.name}/")

    def get(self, key: str, most_bytes: int) -> bytes:
        """See `Bucket.get`."""
        data = self.blobs.get(f"{self.name}/{key}", Span(0, most_bytes + 1))
        if len(data) > most_bytes:
            raise TooLarge(f"a file may be {most_bytes} bytes long")
        return data

    def put(self, key: str, data: bytes) -> None:
        """See `Bucket.put`."""
        self.blobs.put(f"{self.name}/{key}", data)
