"""What a certificate request must be, what comes of it, and the list of those revoked."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.services.certificates import check_csr, issue, load_crl, make_crl
from fleet_server.services.errors import InvalidError
from fleet_server.services.keys import Authority, load_authority
from tests.fakes.certificates import PEM, csr_pem, make_csr

NOW = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
_P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return load_authority(tmp_path_factory.mktemp("keys"), NOW)


def test_a_certificate_is_for_this_client_alone(authority: Authority) -> None:
    made = issue(authority, check_csr(csr_pem("pi-1", _P256), "pi-1"), "pi-1", NOW_MS, 60)
    found, ca = (
        x509.load_pem_x509_certificate(made.pem.encode()),
        x509.load_pem_x509_certificate(authority.pem.encode()),
    )
    found.verify_directly_issued_by(ca)
    assert found.subject.rfc4514_string() == "CN=pi-1"
    assert found.public_key() == _P256.public_key()
    assert found.not_valid_after_utc == NOW + dt.timedelta(days=60)
    extensions = found.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert len(list(extensions)) == 5
    # The authority itself may sign devices and servers, and no further authority.
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def subject(*pairs: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def request(name: x509.Name, key: "ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey" = _P256) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


def with_extension() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject((NameOID.COMMON_NAME, "pi-1")))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=9), True)
    return builder.sign(_P256, hashes.SHA256()).public_bytes(PEM).decode()


def with_attribute() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject((NameOID.COMMON_NAME, "pi-1")))
    builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")
    return builder.sign(_P256, hashes.SHA256()).public_bytes(PEM).decode()


def on_ed25519() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject((NameOID.COMMON_NAME, "pi-1")))
    return builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(PEM).decode()


def badly_signed() -> str:
    """Another key's public half under this key's signature: who asks must hold the private one."""
    good = make_csr("pi-1", _P256).public_bytes(Encoding.DER)
    mine = _P256.public_key().public_numbers().x.to_bytes(32, "big")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    theirs, y_mine = other.public_numbers(), _P256.public_key().public_numbers().y.to_bytes(32, "big")
    swapped = good.replace(mine + y_mine, theirs.x.to_bytes(32, "big") + theirs.y.to_bytes(32, "big"))
    assert swapped != good
    return x509.load_der_x509_csr(swapped).public_bytes(PEM).decode()


CN = NameOID.COMMON_NAME


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: "", "no certificate request"),
        (lambda: "x" * 5000, "4096 bytes"),
        (lambda: csr_pem("pi-1")[:-60], "no certificate request"),
        (lambda: csr_pem("pi-2"), "exactly CN=pi-1"),
        (lambda: request(subject((CN, "pi-1"), (NameOID.ORGANIZATION_NAME, "x"))), "exactly CN=pi-1"),
        (lambda: request(subject((CN, "pi-1"), (CN, "pi-2"))), "exactly CN=pi-1"),
        (lambda: request(subject((NameOID.ORGANIZATION_NAME, "pi-1"))), "exactly CN=pi-1"),
        (lambda: request(x509.Name([])), "exactly CN=pi-1"),
        (lambda: csr_pem("pi-1", ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (lambda: request(subject((CN, "pi-1")), rsa.generate_private_key(65537, 1024)), "P-256"),
        (on_ed25519, "P-256"),
        (with_extension, "no extensions"),
        (with_attribute, "no attributes|has no attributes|no extensions"),
        (badly_signed, "signed by its own key"),
    ],
)
def test_a_request_is_that_and_nothing_more(make: Callable[[], str], told: str) -> None:
    with pytest.raises(InvalidError, match=told):
        check_csr(make(), "pi-1")


def test_each_list_is_newer_than_the_one_before_even_within_one_second(authority: Authority) -> None:
    first = make_crl(authority, [], NOW, None)
    second = make_crl(authority, [(7, NOW)], NOW, first)
    third = make_crl(authority, [(7, NOW), (8, NOW)], NOW, second)
    lists = [x509.load_pem_x509_crl(data) for data in (first, second, third)]
    assert lists[0].last_update_utc < lists[1].last_update_utc < lists[2].last_update_utc <= NOW
    numbers = [item.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for item in lists]
    assert numbers == [1, 2, 3]
    assert {item.serial_number for item in lists[2]} == {7, 8}


def test_the_list_is_made_again_before_it_ends_and_forgets_nothing(authority: Authority, tmp_path: Path) -> None:
    path = load_crl(tmp_path, authority, NOW)
    path.write_bytes(make_crl(authority, [(7, NOW)], NOW, path.read_bytes()))
    held = path.read_bytes()
    assert load_crl(tmp_path, authority, NOW + dt.timedelta(days=14)).read_bytes() == held
    late = NOW + dt.timedelta(days=16)
    renewed = x509.load_pem_x509_crl(load_crl(tmp_path, authority, late).read_bytes())
    assert {item.serial_number for item in renewed} == {7}
    assert (renewed.next_update_utc or NOW) - late == dt.timedelta(days=30)
    path.write_bytes(held[: len(held) // 2])
    assert len(x509.load_pem_x509_crl(load_crl(tmp_path, authority, NOW).read_bytes())) == 0  # the database fills it
