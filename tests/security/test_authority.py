import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from radloop.core.errors import Corrupt, Denied
from radloop.security.authority import LEAF_LIFE, LOOPBACK_NAMES, RENEW_BEFORE, certificates, fingerprint

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def names_of(path: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in held}


def test_the_certificate_names_the_loopback_and_what_else_is_asked(tmp_path: Path) -> None:
    made = certificates(tmp_path, ["Radiology.example", "10.0.0.7"], NOW)
    assert made.is_new
    assert names_of(made.leaf) == {*LOOPBACK_NAMES, "radiology.example", "10.0.0.7"}
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.pem": 0o644, "ca-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o600
    }  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.leaf, made.key)
    assert len(fingerprint(made.authority)) == 32 * 3 - 1


def test_what_is_good_stays_and_what_ages_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    first = certificates(tmp_path, ["a.example"], NOW)
    authority, leaf = first.authority.read_bytes(), first.leaf.read_bytes()
    almost = NOW + LEAF_LIFE - RENEW_BEFORE - DAY
    assert not certificates(tmp_path, ["a.example"], almost).is_new
    assert first.leaf.read_bytes() == leaf
    assert certificates(tmp_path, ["a.example"], almost + 2 * DAY).is_new
    assert first.leaf.read_bytes() != leaf
    assert first.authority.read_bytes() == authority


@pytest.mark.parametrize("names", [["b.example"], ["a.example", "b.example"], []])
def test_other_names_make_another_certificate(tmp_path: Path, names: list[str]) -> None:
    first = certificates(tmp_path, ["a.example"], NOW)
    authority = first.authority.read_bytes()
    assert certificates(tmp_path, names, NOW).is_new
    assert names_of(first.leaf) == {*LOOPBACK_NAMES, *names}
    assert first.authority.read_bytes() == authority


@pytest.mark.parametrize("lost", ["server.pem", "server-key.pem", "ca.pem", "ca-key.pem"])
def test_a_lost_file_is_made_anew_and_the_rest_fits_it(tmp_path: Path, lost: str) -> None:
    made = certificates(tmp_path, [], NOW)
    (tmp_path / lost).unlink()
    assert certificates(tmp_path, [], NOW).is_new
    leaf = x509.load_pem_x509_certificate(made.leaf.read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(made.authority.read_bytes()))


def test_an_authority_about_to_end_is_replaced_before_its_certificates_outlive_it(tmp_path: Path) -> None:
    made = certificates(tmp_path, [], NOW)
    authority = made.authority.read_bytes()
    certificates(tmp_path, [], NOW + 3500 * DAY)
    assert made.authority.read_bytes() == authority
    assert certificates(tmp_path, [], NOW + 3600 * DAY).is_new
    assert made.authority.read_bytes() != authority


@pytest.mark.parametrize("name", ["ca-key.pem", "server-key.pem"])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    certificates(tmp_path, [], NOW)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(Denied, match=name):
        certificates(tmp_path, [], NOW)


def test_a_damaged_authority_is_told_and_not_replaced(tmp_path: Path) -> None:
    certificates(tmp_path, [], NOW)
    (tmp_path / "ca-key.pem").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match=r"ca-key\.pem"):
        certificates(tmp_path, [], NOW)


def test_a_damaged_certificate_is_made_anew(tmp_path: Path) -> None:
    made = certificates(tmp_path, [], NOW)
    made.leaf.write_bytes(b"damaged")
    assert certificates(tmp_path, [], NOW).is_new
