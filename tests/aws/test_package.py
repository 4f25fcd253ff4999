"""The package of the functions: small enough, the same every time, and whole."""

import zipfile
from pathlib import Path

import pytest

from tests.aws.packages import builder, wheels

pytestmark = pytest.mark.slow


def test_the_package_for_lambda_fits_and_is_the_same_every_time(tmp_path: Path) -> None:
    found = wheels(tmp_path / "wheels", "3.12")
    one, other = (builder().build(tmp_path / name, wheels=found) for name in ("one.zip", "other.zip"))
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.zipped_bytes < 50_000_000
    assert one.unpacked_bytes < 250_000_000
    with zipfile.ZipFile(one.path) as package:
        names = package.namelist()
    assert not any(name.startswith(("boto3/", "botocore/")) or name.endswith(".pyc") for name in names)
    assert not any("/tests/" in name for name in names)
    assert "radloop/contracts/functions.json" in names
