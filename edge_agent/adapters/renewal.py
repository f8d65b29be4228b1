"""The next certificate of this device, in a process of its own: `python -m edge_agent.adapters.renewal STATE_DIR`.

House rules: the request is signed by the device's Ed25519 key and answers the server's challenge, so the old
certificate may have expired and the clock may be wrong. The new certificate and its key are one new file;
`identity.json` names the file in use, and is replaced at once: a power cut leaves the old pair or the new one, never a
mixture. The process is short-lived, since it takes 8 MB that the agent need not hold.
"""

import hashlib
import random
import sys
from pathlib import Path

from nacl.signing import SigningKey

from edge_agent.adapters import enrolment, tls_keys
from edge_agent.adapters.identity import (
    Identity,
    IdentityError,
    TlsFile,
    drop_tls_files,
    load_identity,
    save_identity,
    save_tls_file,
)
from edge_agent.contract import codec
from edge_agent.contract.enrolment import RenewRequest
from edge_agent.contract.envelope import PayloadType, pre_authentication_encoding, seal
from edge_agent.core.renewal_rules import choose_renewal

RENEWED, FAILED, PENDING = 0, 1, 75


def renew(state_dir: Path) -> bool:
    """Fetch and keep a new certificate; return False where an operator's approval is still awaited.

    A device that has a password is only told whether it is let in.

    Raises:
        IdentityError: the device is not enrolled.
        EnrolmentError: refused, or the server cannot be reached; the old certificate is as it was.
        OSError: the new certificate could not be written; the old one is as it was.
    """
    held = load_identity(state_dir)
    nonce = enrolment.fetch_challenge(held.server_url, held.fleet_ca)
    request = tls_keys.make_request(held.device)
    payload = codec.encode(RenewRequest(held.device, request.csr, nonce))
    answer = enrolment.renew(held.server_url, held.fleet_ca, _signed(held, payload))
    if answer.pending:
        return False
    if answer.certificate is None:
        if held.by_certificate:
            raise enrolment.EnrolmentError("the server sent no certificate; enrol again if its broker has changed")
        return True
    new = with_certificate(state_dir, held, request, answer.certificate)
    save_identity(state_dir, new)
    drop_tls_files(state_dir, keep=new)
    return True


def with_certificate(state_dir: Path, held: Identity, request: tls_keys.KeyRequest, certificate: str) -> Identity:
    """Write a key and its certificate durably, and return the identity that names them; it is the caller's to save.

    Raises:
        EnrolmentError: the certificate is not for this key and device.
        OSError: it could not be written.
    """
    try:
        life = tls_keys.check_certificate(certificate, request)
    except tls_keys.CertificateError as error:
        raise enrolment.EnrolmentError(str(error)) from error
    due = choose_renewal(life.starts, life.ends, random.random())  # noqa: S311 - spreads a fleet, keeps no secret
    return save_tls_file(state_dir, held, TlsFile(request.key + certificate, int(due), int(life.ends)))


def _signed(held: Identity, payload: bytes) -> bytes:
    key = SigningKey(bytes.fromhex(held.seed))
    keyid = hashlib.sha256(bytes(key.verify_key)).hexdigest()[:16]
    signature = key.sign(pre_authentication_encoding(PayloadType.RENEWAL, payload)).signature
    return seal(PayloadType.RENEWAL, payload, keyid, signature)


def main(state_dir: Path) -> int:
    """Renew once; say what went wrong on standard error."""
    try:
        return RENEWED if renew(state_dir) else PENDING
    except (IdentityError, enrolment.EnrolmentError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
