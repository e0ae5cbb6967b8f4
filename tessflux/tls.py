"""The one policy of TLS: which authorities are trusted, and which certificates are accepted.

Whatever is not understood is refused, before anything is sent. Twisted by itself refuses a certificate for
another host, but only logs any other exception while it checks the names, and goes on: a certificate of a
trusted authority without a subjectAltName, or with a malformed one, would be accepted for every host.
"""

from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

NO_TLS = "wrong version number"
"""What OpenSSL says of an answer that is no TLS."""


class CertificateRefused(Exception):
    """The server's certificate is not one for its host; the text says what it is for."""


def trust(ca_file: str) -> Any:
    """The trusted authorities: those in a PEM file, or without one those of the system.

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


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedTLS:
    """TLS to `host`, a name in ASCII or an address, for Twisted's endpoints; `client` is our certificate."""

    def __init__(self, host: str, authorities: Any, client: PrivateCertificate | None = None) -> None:
        self._host = host
        ours = {"privateKey": client.privateKey.original, "certificate": client.original} if client else {}
        # Not optionsForClientTLS, which checks the host itself and refuses names with an underscore.
        self._context = CertificateOptions(trustRoot=authorities, **ours).getContext()

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A connection that verifies the chain of certificates and the host."""
        connection = SSL.Connection(self._context, None)
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, partial(self._verify, protocol)
        )
        return connection

    def _verify(
        self, protocol: Any, _connection: SSL.Connection, found: crypto.X509, _error: int, depth: int, ok: int
    ) -> bool:
        """Called by OpenSSL for each certificate of the chain; `ok` is what it thinks itself."""
        try:
            if ok and depth == 0:
                check_host(found.to_cryptography(), self._host)
            return bool(ok)
        except Exception:
            # Nothing that goes wrong here may let a certificate pass.
            protocol.failVerification(Failure())
            return False


def check_host(certificate: x509.Certificate, host: str) -> None:
    """Raise CertificateRefused unless the certificate is certainly for this host."""
    verify = verify_certificate_ip_address if _is_address(host) else verify_certificate_hostname
    try:
        names = _names(certificate)
        verify(certificate, host)
    except VerificationError as error:
        raise CertificateRefused(f"its certificate is for {names}, not for {host}") from error
    except Exception as error:
        # Whichever it is: names that are missing, malformed or unreadable are nobody's.
        raise CertificateRefused(f"its certificate is not certainly for {host}: {error}") from error


def _is_address(host: str) -> bool:
    return bool(isIPAddress(host) or isIPv6Address(host))


def _names(certificate: x509.Certificate) -> str:
    """What a certificate is for. Raises ValueError if it names nothing, or cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = ", ".join(str(name.value) for name in extension.value)
    except x509.ExtensionNotFound:
        names = ""
    if not names:
        raise ValueError("it has no subjectAltName")
    return names


def tls_problem(error: BaseException | None, section: str, key: str, *, plain: str) -> str | None:
    """Why TLS ended the connection to the server that `key` in `section` names; None if it was not TLS.
    `plain` is how that begins for a server without TLS."""
    match error:
        case CertificateRefused():
            return f"{error}; [{section}] {key} must name the server as its certificate does"
        case SSL.Error(args=[[*entries]]):
            text = ", ".join(str(entry[-1]) for entry in entries)
            hint = ""
            if "verify" in text:
                hint = f"; it has expired, or [{section}] tls_ca does not have the authority that signed it"
            elif NO_TLS in text:
                hint = f"; no TLS is spoken at this port, so [{section}] {key} must begin with {plain}"
            return f"TLS: {text}{hint}"
        case SSL.Error():
            return f"TLS: {error}"
        case _:
            return None
