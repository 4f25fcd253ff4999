"""Lays the viewer's built files into the bucket that CloudFront gives them out of, below `app/`.

    python infra/build/viewer.py BUCKET

Each file is kept as long, and is of the type, that the embedded server says. The page itself comes last, so that what
it names is there already; files of an earlier build stay for whoever still has its page open.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from radloop.api.viewer import headers_of

BUILT = Path(__file__).resolve().parents[2] / "radloop" / "viewer" / "static"
PAGE = "index.html"


class NotBuilt(Exception):
    """There is no built viewer."""


def files(folder: Path) -> Iterator[str]:
    """Names of what is laid down, the page last; CloudFront compresses by itself, so no `.gz`.

    Raises:
        NotBuilt: The folder holds no page.
    """
    if not (folder / PAGE).is_file():
        raise NotBuilt(f"{folder} holds no {PAGE}: `make setup` builds the viewer")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    yield from (name for name in found if name != PAGE and not name.endswith(".gz"))
    yield PAGE


def lay_down(s3: Any, bucket: str, folder: Path = BUILT) -> int:
    """Put every file below `app/`; returns how many.

    Raises:
        NotBuilt: See `files`.
        botocore.exceptions.ClientError: S3 refuses.
    """
    count = 0
    for name in files(folder):
        told = {key.replace("-", ""): value for key, value in headers_of(name).items()}
        s3.put_object(Bucket=bucket, Key=f"app/{name}", Body=(folder / name).read_bytes(), **told)
        count += 1
    return count


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket", help="the bucket `web` of the output `buckets`")
    given = parser.parse_args()
    try:
        count = lay_down(boto3.client("s3"), given.bucket)
    except NotBuilt as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{count} files in {given.bucket}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
