"""Password hashes and access lists as Mosquitto reads them."""

import base64
import hashlib

import pytest

from edge_agent.contract.topics import Topics
from fleet_server.broker.accounts import (
    UnmanagedAccounts,
    hash_password,
    new_password,
    render_access,
    render_passwords,
)


def test_a_password_is_kept_as_mosquittos_salted_hash() -> None:
    kind, iterations, salt, digest = hash_password("secret", b"x" * 12).split("$")[1:]
    assert (kind, base64.b64decode(salt)) == ("7", b"x" * 12)
    expected = hashlib.pbkdf2_hmac("sha512", b"secret", b"x" * 12, int(iterations))
    assert base64.b64decode(digest) == expected
    assert hash_password("secret") != hash_password("secret")


def test_passwords_are_long_and_new_each_time() -> None:
    assert len({new_password() for _ in range(50)}) == 50
    assert len(new_password()) >= 43


def test_files_are_in_the_order_of_names_so_that_they_compare() -> None:
    assert render_passwords({"b": "$7$2", "a": "$7$1"}) == "a:$7$1\nb:$7$2\n"


def test_each_device_reads_its_own_cohort() -> None:
    text = render_access(Topics("r"), {"cam-1": "pi4", "cam-2": "zero2w"})
    sections = dict(part.split("\n", 1) for part in text.split("user ")[1:])
    assert sections["cam-1"].split("\n") == ["topic read r/c/pi4/+", "", ""]
    assert text.index("pattern read r/trust/+") < text.index("user ")
    assert "zero2w" not in sections["cam-1"]
    assert "write" not in sections["cam-1"]
    assert "pattern write r/d/%u/up/#" in text


def test_who_is_locked_out_has_one_line_that_denies_everything() -> None:
    text = render_access(Topics("r"), {"cam-2": "pi4"}, ["cam-1"])
    assert "user cam-1\ntopic deny r/#\n" in text
    with pytest.raises(ValueError, match="is 1 to 64"):
        render_access(Topics(), {}, ["cam\ntopic readwrite #"])


@pytest.mark.parametrize(("device", "cohort"), [("cam\ntopic readwrite #", "pi4"), ("cam-1", "+/#"), ("#", "pi4")])
def test_no_name_can_write_a_rule_of_its_own(device: str, cohort: str) -> None:
    with pytest.raises(ValueError, match="is 1 to 64"):
        render_access(Topics(), {device: cohort})


def test_an_unmanaged_broker_has_advice_and_enforces_nothing() -> None:
    accounts = UnmanagedAccounts("configure it")
    accounts.add("cam-1", "pw", "pi4")
    assert (accounts.enforced, accounts.advice, accounts.devices()) == (False, "configure it", frozenset())
    with pytest.raises(ValueError, match="device id"):
        accounts.add("Cam 1", "pw", "pi4")
