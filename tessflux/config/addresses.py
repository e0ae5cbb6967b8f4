"""The text that says where a server listens -> a checked value. Pure; a wrong text is a ValueError.

The ValueError never quotes the text, which may hold a password.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

BROKER_FORMS = (
    "tcp:HOST:PORT, tls:HOST:PORT, unix:/PATH, mqtt://HOST, mqtts://HOST, ws://HOST/PATH or wss://HOST/PATH"
)

Transport = Literal["tcp", "tls", "ws", "wss", "unix"]

_TRANSPORTS: dict[str, Transport] = {"tcp": "tcp", "tls": "tls", "ssl": "tls", "unix": "unix"}
_SCHEMES: dict[str, tuple[Transport, int]] = {
    "mqtt": ("tcp", 1883),
    "tcp": ("tcp", 1883),
    "mqtts": ("tls", 8883),
    "ssl": ("tls", 8883),
    "tls": ("tls", 8883),
    "ws": ("ws", 80),
    "wss": ("wss", 443),
}
"""Of a URL: how the broker is spoken to, and its port if the URL names none."""

_WEBSOCKET_PATH = "/mqtt"
"""Where most brokers have their WebSocket; some take any path."""

# Settings of Twisted's endpoints that old config files may have. tessflux makes its own choice.
_IGNORED = frozenset({"timeout", "bindAddress", "lockfile"})


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker listens. `broker` takes its str again. `path` is that of a socket of this machine, or
    of a WebSocket."""

    transport: Transport
    host: str
    port: int
    path: str

    @property
    def tls(self) -> bool:
        """Whether the broker shows a certificate."""
        return self.transport in ("tls", "wss")

    @property
    def websocket(self) -> bool:
        """Whether MQTT goes through a WebSocket."""
        return self.transport in ("ws", "wss")

    @property
    def netloc(self) -> str:
        """HOST:PORT, as a URL has them."""
        return _netloc(self.host, self.port)

    def __str__(self) -> str:
        if self.transport == "unix":
            return f"unix:{_escape(self.path)}"
        if self.websocket:
            return f"{self.transport}://{self.netloc}{self.path}"
        return f"{self.transport}:{self.netloc}"


def broker(text: str) -> BrokerAddress:
    """An endpoint description as Twisted's `clientFromString` reads it, or a URL."""
    if not text:
        raise ValueError(f"is empty; say where the broker listens: {BROKER_FORMS}")
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        return _from_url(text)
    kind, *parts = _split(text)
    transport = _TRANSPORTS.get(kind.lower())
    if transport is None:
        raise ValueError(f"must be one of {BROKER_FORMS}")
    expected = ("path",) if transport == "unix" else ("host", "port")
    arguments = _arguments(parts, expected)
    if transport == "unix":
        if not arguments["path"].startswith("/"):
            raise ValueError("needs an absolute path: unix:/PATH")
        return BrokerAddress("unix", "", 0, arguments["path"])
    host = arguments["host"]
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return BrokerAddress(transport, _host(host), _port(arguments["port"]), "")


@dataclass(frozen=True)
class ListenAddress:
    """Where tessflux itself listens; `listen` takes its str again."""

    host: str
    port: int

    def __str__(self) -> str:
        return _netloc(self.host, self.port)


def listen(text: str) -> ListenAddress:
    """An address of this computer, and a port."""
    match = re.fullmatch(r"(?:\[([^]]*)\]|([^][:]*)):(.*)", text)
    v6, v4, port = match.groups() if match else (None, "", "")
    try:
        if v6 is not None:
            return ListenAddress(str(ipaddress.IPv6Address(v6)), _port(port))
        return ListenAddress(
            str(ipaddress.IPv4Address("127.0.0.1" if v4 == "localhost" else v4)), _port(port)
        )
    except ipaddress.AddressValueError:
        raise ValueError(
            "must be an address of this computer and a port: 127.0.0.1:9273 or [::1]:9273;"
            " with 0.0.0.0:9273 or [::]:9273 the whole network can look"
        ) from None


def http_urls(text: str) -> str:
    """Addresses of an InfluxDB, with commas between them; "" for none."""
    urls = (each.strip() for each in re.split(r"[,\n]", text))
    return ",".join(dict.fromkeys(_http_url(each) for each in urls if each))


def _http_url(text: str) -> str:
    """An address without a slash at its end."""
    url = _split_url(text)
    if url.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    _refuse_userinfo(url)
    if "?" in text or "#" in text:
        raise ValueError("must end before any ? or #; the database, a policy and the login are keys here")
    if re.search(r"\s", text) or not url.path.isascii():
        raise ValueError("must have no blanks, and no letters outside ASCII in its path")
    netloc = _netloc(_host(url.hostname or ""), url.port)
    return f"{url.scheme}://{netloc}{url.path}".rstrip("/")


def _from_url(text: str) -> BrokerAddress:
    url = _split_url(text)
    _refuse_userinfo(url)
    transport, port = _SCHEMES[url.scheme]
    websocket = transport in ("ws", "wss")
    if "?" in text or "#" in text or (url.path not in ("", "/") and not websocket):
        end = "path" if websocket else "port"
        raise ValueError(f"must end after the {end}; topics and the like are keys of their own")
    if websocket and not re.fullmatch(r"[!-~]*", url.path):
        raise ValueError("must have no blanks and no letters outside ASCII in its path")
    path = (url.path or _WEBSOCKET_PATH) if websocket else ""
    return BrokerAddress(transport, _host(url.hostname or ""), url.port or port, path)


def _split_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is no valid URL; check its host and its port (1 to 65535)") from None
    if port == 0:
        raise ValueError("needs a port from 1 to 65535")
    return url


def _refuse_userinfo(url: SplitResult) -> None:
    if "@" in url.netloc:
        raise ValueError("must have no user and no password in it; put them in username and password")


def _arguments(parts: list[str], expected: tuple[str, ...]) -> dict[str, str]:
    """Positional and `key=value` parts, as Twisted fits them together."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in parts:
        pair = re.fullmatch(r"(\w+)=(.*)", part, re.DOTALL)
        if pair is None:
            positional.append(_unescape(part))
        elif pair[1] in expected and pair[1] not in named:
            named[pair[1]] = _unescape(pair[2])
        elif pair[1] not in _IGNORED:
            raise ValueError(
                f"has a setting that is not used here; it must be one of {BROKER_FORMS}, "
                "and certificates go in tls_ca, tls_cert and tls_key"
            )
    missing = [name for name in expected if name not in named]
    if len(missing) != len(positional):
        raise ValueError(
            f"needs {' and '.join(expected)} once each; it must be one of {BROKER_FORMS}, "
            "and an IPv6 address stands in brackets: tcp:[::1]:1883"
        )
    return named | dict(zip(missing, positional, strict=True))


def _split(text: str) -> list[str]:
    r"""Split at each colon that no backslash escapes and no brackets enclose; the escapes stay."""
    parts = [""]
    for token in re.findall(r"\\.|(?<=[:=])\[[^\]]*\](?=:|$)|.", text, re.DOTALL):
        if token == ":":
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _escape(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _netloc(host: str, port: int | None) -> str:
    """A host and its port, as a URL has them."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _host(text: str) -> str:
    """An address, or a name in ASCII and without capitals: as it is looked up, and compared with that of a
    certificate."""
    if ":" in text:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            raise ValueError("has an IPv6 address that is not valid") from None
        if address.scope_id is not None:
            raise ValueError(
                "has an IPv6 address with a zone (%...), which is of use on one link only; take another"
            )
        return text
    if not re.fullmatch(r"[^\s/\\@?#=%\[\]]+", text):
        raise ValueError("needs the name or the address of a host")
    name = text.lower() if text.isascii() else _ascii(text)
    # The resolver of the system takes no others.
    if not all(0 < len(label) < 64 for label in name.removesuffix(".").split(".")):
        raise ValueError("needs the name or the address of a host")
    return name


def _ascii(name: str) -> str:
    # Not at the top: few hosts need its megabyte of tables.
    import idna

    try:
        # As 2003 has it, a name with a sharp s is another.
        return idna.encode(name, uts46=True).decode()
    except UnicodeError:
        advice = "write its form that begins with xn--"
        raise ValueError(f"has a host that is no name by IDNA 2008; {advice}") from None


def _port(text: str) -> int:
    if not (re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65_535):
        raise ValueError("needs a port from 1 to 65535")
    return int(text)
