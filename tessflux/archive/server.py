"""Blocking requests to the database of an output. The login, the time limit and the TLS policy are those with
which the daemon writes.

Only the authorities of `tls_ca`, or else of the system, are trusted, and only a certificate that is for the
host. No redirection is followed, and no proxy or password is taken from the environment.
"""

import ssl
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from tessflux import __version__
from tessflux.config import InfluxConfig
from tessflux.errors import Unavailable
from tessflux.influx import dialect, error_text
from tessflux.logs import escape

Parameters = Mapping[str, str | int]
"""Those of a request."""

LONGEST_REASON = 300
"""Characters that are shown of what a server says."""


class Server:
    """One url of a database."""

    def __init__(self, config: InfluxConfig, url: str) -> None:
        """Raises Unavailable if the file of the authorities cannot be used."""
        self.config, self.url = config, url
        self.session = _Session(self._trusted())
        self.session.headers["User-Agent"] = f"tessflux/{__version__}"
        if login := dialect(config).authorization(config):
            self.session.headers["Authorization"] = login

    def get(self, path: str, parameters: Parameters | None = None) -> requests.Response:
        """What is at `path` below the url, whatever its status is. Raises Unavailable without an answer."""
        try:
            return self.session.get(f"{self.url}{path}", params=parameters, timeout=self.config.timeout)
        except requests.RequestException as error:
            raise self.no_answer(error) from None

    def body(self, path: str, parameters: Parameters) -> bytes:
        """The same, if the answer is a good one. Raises Unavailable."""
        answer = self.get(path, parameters)
        if answer.status_code != 200:
            raise self.refusal(answer.status_code, answer.content)
        return answer.content

    def refusal(self, code: int | None, said: str | bytes) -> Unavailable:
        """The error about an answer that is not what was asked for; `code` is None where it is not known."""
        text = error_text(said.encode() if isinstance(said, str) else said)
        reason = f"{code or ''} {self._hide(text)[:LONGEST_REASON]}".strip()
        if code in (401, 403):
            has_token = self.config.bucket or self.config.database
            login = "token, and whether it" if has_token else "username and password, and whether the user"
            reason += f"; check {login} may read"
        return self.trouble(reason)

    def no_answer(self, error: requests.RequestException) -> Unavailable:
        """The error about a request without an answer."""
        return self.trouble(_in_words(error, self.config))

    def trouble(self, reason: str) -> Unavailable:
        """The error with the reason why readings cannot be had from here."""
        return Unavailable(f"[{self.config.section}] {self.url}: {escape(reason)}")

    def _hide(self, said: str) -> str:
        return " ".join(dialect(self.config).hide(self.config, said).split())

    def _trusted(self) -> ssl.SSLContext:
        file = self.config.tls_ca
        try:
            context = ssl.create_default_context(cafile=file or None)
        except OSError as error:
            raise self.trouble(f"tls_ca = {file} cannot be used: {error}") from None
        context.hostname_checks_common_name = False
        # The daemon accepts an authority without keyUsage, such as `openssl req -x509` makes.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


class _Session(requests.Session):
    """Whoever uses it cannot ask for less than its policy."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        super().__init__()
        self.trust_env = False
        self._adapter = _Adapter(trusted)

    def get_adapter(self, url: str | bytes) -> HTTPAdapter:
        return self._adapter

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:
        return super().request(method, url, *args, **{**options, "allow_redirects": False, "verify": True})


class _Adapter(HTTPAdapter):
    """Connections that trust whom `trusted` does, and nobody else."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._trusted)

    def cert_verify(self, conn: Any, url: str | bytes, verify: Any, cert: Any) -> None:
        """Without the authorities that come with requests."""
        conn.cert_reqs = "CERT_REQUIRED"


def _in_words(error: BaseException, config: InfluxConfig) -> str:
    """Why a request got no answer: what the system or OpenSSL says of it."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {config.timeout:g} s"
    found, reason = error, "the connection broke, or the answer is not HTTP"
    inner: BaseException | None = error
    while inner:
        if isinstance(inner, OSError) and inner.strerror:
            found, reason = inner, inner.strerror
        inner = inner.__cause__ or inner.__context__
    match found:
        case ssl.SSLCertVerificationError():
            return (
                f"TLS: {found.verify_message.rstrip('.')}; [{config.section}] url must name the server as its"
                " certificate does, and tls_ca must have the authority that signed it"
            )
        case ssl.SSLError():
            words = (found.reason or "no TLS").replace("_", " ").lower()
            return f"TLS: {words}; if no TLS is spoken there, the url must begin with http://"
        case _:
            return reason
