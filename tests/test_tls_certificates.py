"""Which certificates are accepted for which host. To all others not one byte is sent."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from OpenSSL import crypto
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from tessflux import tls
from tessflux.config import BrokerAddress, InfluxConfig, MqttConfig, Secret
from tessflux.config.addresses import broker, http_urls
from tessflux.errors import ServerError
from tessflux.influx import Http, agent, schema
from tessflux.mqtt import broker_endpoint
from tessflux.tls import CertificateRefused, tls_problem, trust
from tests import names

HOSTS = ("localhost", "127.0.0.1", "::1")
SECRET = b"the password"
LOGIN = b64encode(b"tess:" + SECRET)
DAY = timedelta(days=1)

DNS, IP = x509.DNSName, lambda text: x509.IPAddress(ip_address(text))
DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
ALL = (DNS("localhost"), IP("127.0.0.1"), IP("::1"))

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@dataclass(frozen=True)
class Case:
    """A certificate with these names, and the hosts for which it must be accepted."""

    id: str
    names: tuple[x509.GeneralName, ...] | bytes | None
    accepted: tuple[str, ...] = ()
    common_name: str = "a server"
    begins: timedelta = -DAY
    ends: timedelta = DAY
    issuer: str = "ours"


CASES = (
    Case("a name", (DNS("localhost"),), ("localhost",)),
    Case("a name in capitals", (DNS("LOCALHOST"),), ("localhost",)),
    Case("an IPv4 address", (IP("127.0.0.1"),), ("127.0.0.1",)),
    Case("an IPv6 address", (IP("::1"),), ("::1",)),
    Case("all of them", ALL, HOSTS),
    Case("a name among others", (DNS("other.example"), DNS("localhost")), ("localhost",)),
    Case("an authority without keyUsage", ALL, HOSTS, issuer="ours without keyUsage"),
    Case("no subjectAltName", None, common_name="localhost"),
    Case("an empty subjectAltName", b"\x30\x00"),
    Case("a subjectAltName that is no sequence", b"garbage"),
    Case("an e-mail address", (x509.RFC822Name("root@localhost"),)),
    Case("a URI", (x509.UniformResourceIdentifier("https://localhost"),)),
    Case("a directory name", (DIRECTORY,)),
    Case("another name", (DNS("other.example"),)),
    Case("another address", (IP("10.0.0.1"),)),
    Case("a longer name", (DNS("localhost.example"),)),
    Case("a wildcard above", (DNS("*.localhost"),)),
    Case("a wildcard for everything", (DNS("*"),)),
    Case("two wildcards", (DNS("*.*.example.org"),)),
    Case("a wildcard within a level", (DNS("loc*st"),)),
    Case("an address as a name", (DNS("127.0.0.1"),)),
    Case("another address as a name", (DNS("10.0.0.1"),)),
    Case("a right name and a malformed one", (*ALL, DNS("*"))),
    Case("a name with a zero byte", (DNS("localhost\0.other.example"),)),
    Case("expired", ALL, ends=-DAY / 2),
    Case("not valid yet", ALL, begins=DAY / 2),
    Case("a stranger's authority", ALL, issuer="a stranger's"),
    Case("itself", ALL, issuer="itself"),
    Case("issued by no authority", ALL, issuer="a server of ours"),
    Case("issued by an authority below ours", ALL, HOSTS, issuer="below ours"),
)


def signed(case: Case, issuer: Pair | None, *, authority: bool = False, key_usage: bool = True) -> Pair:
    """The certificate of a case and its key; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, case.common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + case.begins)
        .not_valid_after(now + case.ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if authority and key_usage:
        others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
        usage = dict.fromkeys((*others, "key_agreement", "encipher_only", "decipher_only"), False)
        builder = builder.add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
    if isinstance(case.names, bytes):
        unread = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, case.names)
        builder = builder.add_extension(unread, critical=False)
    elif case.names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(case.names), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


class Authorities:
    """Those that sign the certificates; the first two are trusted."""

    def __init__(self) -> None:
        self.pairs: dict[str, Pair | None] = {
            name: signed(Case(name, None, common_name=name), None, authority=True, key_usage=key_usage)
            for name, key_usage in (
                ("ours", True),
                ("ours without keyUsage", False),
                ("a stranger's", True),
            )
        }
        below = Case("below ours", None, common_name="below ours")
        self.pairs["below ours"] = signed(below, self.pairs["ours"], authority=True)
        self.pairs["a server of ours"] = signed(Case("a server", ALL), self.pairs["ours"])
        self.pairs["itself"] = None

    def trusted(self) -> bytes:
        pairs = [self.pairs["ours"], self.pairs["ours without keyUsage"]]
        return b"".join(pair[0].public_bytes(Encoding.PEM) for pair in pairs if pair)


class Server(Protocol):
    """Notes what arrives, and hangs up."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard += data
        assert self.transport is not None
        self.transport.loseConnection()


class Client(Protocol):
    """Sends a password to whoever is there."""

    def __init__(self) -> None:
        self.lost: Deferred[Failure | None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost.callback(reason)


class CertificateTest(TestCase):
    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.authorities = Authorities()
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.ca = Path(directory.name) / "ca.pem"
        self.ca.write_bytes(self.authorities.trusted())

    def serve(self, case: Case, host: str) -> Factory:
        """A server with the certificate of a case; `port` of its factory is where it listens."""
        issuer = self.authorities.pairs[case.issuer]
        certificate, key = signed(case, issuer)
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(certificate),
            # Without it whoever issued the certificate is unknown, authority or not.
            extraCertChain=[crypto.X509.from_cryptography(issuer[0])] if issuer else [],
        )
        factory: Any = Factory.forProtocol(Server)
        factory.heard = b""
        listening = self.reactor.listenSSL(
            0, factory, options, interface="::1" if host == "::1" else "127.0.0.1"
        )
        self.addCleanup(listening.stopListening)
        factory.port = listening.getHost().port
        served: Factory = factory
        return served

    async def to_broker(self, host: str, port: int) -> BaseException | None:
        """Send a password to a broker; returns why the connection ended."""
        config = MqttConfig(BrokerAddress("tls", host, port, ""), tls_ca=str(self.ca))
        client = Client()
        try:
            await connectProtocol(broker_endpoint(self.reactor, config), client)
            reason = await client.lost
        except Exception as error:
            return error
        return reason.value if reason else None

    async def to_database(self, host: str, port: int) -> BaseException | None:
        """Send a login to a database; returns why there was no answer."""
        url = f"https://{f'[{host}]' if ':' in host else host}:{port}/write".encode()
        connections = agent(self.reactor, partial(trust, str(self.ca)), 10.0)
        try:
            await connections.request(b"POST", url, Headers({b"Authorization": [SECRET]}))
        except Exception as error:
            reasons = getattr(error, "reasons", [Failure(error)])
            return BaseException() if not reasons else reasons[0].value
        finally:
            await connections._pool.closeCachedConnections()
        return None

    async def to_statements(self, host: str, port: int) -> BaseException | None:
        """Send a login with a statement of the data definition file; returns why there was no answer."""
        url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        config = InfluxConfig(
            url=url, tls_ca=str(self.ca), timeout=10.0, username="tess", password=Secret(SECRET.decode())
        )

        http = Http(config, agent(self.reactor, partial(trust, str(self.ca)), 10.0), self.reactor)
        try:
            await schema.Administration(http).may_not_create()
        except ServerError as error:
            return error
        finally:
            await http.close()
        return None

    def combinations(self) -> Iterator[tuple[Case, str]]:
        for case in CASES:
            for host in HOSTS:
                yield case, host

    async def test_a_password_arrives_only_where_the_certificate_is_certainly_for_the_host(self) -> None:
        wrong = []
        for case, host in self.combinations():
            for end in (self.to_broker, self.to_database, self.to_statements):
                served: Any = self.serve(case, host)
                error = await end(host, served.port)
                arrived = SECRET in served.heard or LOGIN in served.heard
                if arrived != (host in case.accepted) or (served.heard and not arrived):
                    wrong.append((case.id, host, end.__name__, served.heard, error))
        assert not wrong
        # A refusal is an answer, and no bug of ours.
        assert self.flushLoggedErrors() == []

    async def test_the_name_in_a_certificate_is_the_one_that_is_looked_up(self) -> None:
        names.install(self, self.reactor)
        wrong = []
        for text, name, right in (
            ("my_host", "my_host", True),
            ("my_host", "myhost", False),
            ("My_Host.example.org", "*.example.org", True),
            ("db--1.example", "db--1.example", True),
            ("MÜNCHEN.de", "xn--mnchen-3ya.de", True),
            ("straße.de", "xn--strae-oqa.de", True),
            # By IDNA 2003 these were the same.
            ("straße.de", "strasse.de", False),
        ):
            served: Any = self.serve(Case(name, (DNS(name),)), "127.0.0.1")
            for end, host in (
                (self.to_broker, broker(f"tls:{text}:1").host),
                (self.to_database, http_urls(f"https://{text}").removeprefix("https://")),
                (self.to_statements, http_urls(f"https://{text}").removeprefix("https://")),
            ):
                served.heard = b""
                error = await end(host, served.port)
                arrived = SECRET in served.heard or LOGIN in served.heard
                if arrived != right:
                    wrong.append((text, name, end.__name__, served.heard, error))
        assert not wrong
        assert self.flushLoggedErrors() == []

    async def test_a_refusal_says_for_whom_the_certificate_is(self) -> None:
        told: dict[str, str] = {}
        for case in CASES:
            served: Any = self.serve(case, "localhost")
            error = await self.to_broker("localhost", served.port)
            if isinstance(error, CertificateRefused):
                told[case.id] = str(tls_problem(error, "mqtt", "broker", plain="tcp:"))
        advice = "; [mqtt] broker must name the server as its certificate does"
        served = self.serve(next(case for case in CASES if case.id == "another name"), "localhost")
        error = await self.to_statements("localhost", served.port)
        told["of a statement"] = str(error)
        begin = "its certificate is for "
        assert told["of a statement"] == (
            f"{begin}other.example, not for localhost;"
            " [influxdb] url must name the server as its certificate does"
        )
        assert told["another name"] == f"{begin}other.example, not for localhost{advice}"
        assert told["an IPv4 address"] == f"{begin}127.0.0.1, not for localhost{advice}"
        for name in ("no subjectAltName", "an empty subjectAltName", "a right name and a malformed one"):
            assert told[name].startswith("its certificate is not certainly for localhost: "), name


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "it has no subjectAltName"),
        (b"\x30\x00", "it has no subjectAltName"),
        (b"garbage", "error parsing"),
    ],
)
def test_a_certificate_that_names_nobody_is_refused_in_words_whatever_the_library_says(
    names: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions of service_identity say of these that they are for others."""

    def verify(certificate: x509.Certificate, host: str) -> None:
        raise VerificationError(errors=[])

    monkeypatch.setattr(tls, "verify_certificate_hostname", verify)
    certificate, _ = signed(Case("", names), None)
    with pytest.raises(CertificateRefused, match=f"is not certainly for localhost: {said}"):
        tls.check_host(certificate, "localhost")
