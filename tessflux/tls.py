"""Which certificates are trusted, and, for the operator, what is wrong with one that is not."""

from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet.ssl import Certificate, platformTrust, trustRootFromCertificates


def trust(ca_file: str) -> Any:
    """The authorities to trust: those in a PEM file, or without one those of the system.

    Raises OSError if the file cannot be used.
    """
    if not ca_file:
        return platformTrust()
    text = Path(ca_file).read_bytes()
    end = b"-----END CERTIFICATE-----"
    try:
        certificates = [Certificate.loadPEM(part + end) for part in text.split(end)[:-1]]
    except crypto.Error:
        certificates = []
    # OpenSSL knows other kinds, such as TRUSTED CERTIFICATE, which Twisted cannot read.
    if not certificates or len(certificates) != text.count(b"CERTIFICATE-----") // 2:
        raise OSError(f"{ca_file} holds no certificate, or one that cannot be read")
    return trustRootFromCertificates(certificates)


def tls_problem(error: BaseException | None, section: str, key: str) -> str | None:
    """Why TLS ended the connection to the server that `key` in `section` names; None if it was not TLS."""
    match error:
        case VerificationError():
            return (
                f"its certificate is for another host; [{section}] {key} must name it as the certificate does"
            )
        case SSL.Error(args=[[*entries]]):
            text = ", ".join(str(entry[-1]) for entry in entries)
            hint = f"; it has expired, or [{section}] tls_ca does not have the authority that signed it"
            return f"TLS: {text}{hint if 'verify' in text else ''}"
        case SSL.Error():
            return f"TLS: {error}"
        case _:
            return None
