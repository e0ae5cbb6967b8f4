"""Addresses of servers: every form that is accepted, and the problem with each of the others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessflux.config.addresses import BrokerAddress, broker, http_urls, listen

LOCAL = BrokerAddress("tcp", "localhost", 1883, "")
V6 = BrokerAddress("tcp", "::1", 1883, "")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp:localhost:1883", LOCAL),
        ("TCP:localhost:1883", LOCAL),
        ("tcp:host=localhost:port=1883", LOCAL),
        ("tcp:port=1883:host=localhost", LOCAL),
        ("tcp:localhost:port=1883", LOCAL),
        ("tcp:host=localhost:1883", LOCAL),
        ("tcp:localhost:1883:timeout=5:bindAddress=127.0.0.1", LOCAL),
        ("mqtt://localhost", LOCAL),
        ("MQTT://localhost:1883/", LOCAL),
        (r"tcp:\:\:1:1883", V6),
        (r"tcp:host=\:\:1:port=1883", V6),
        ("mqtt://[::1]", V6),
        ("mqtt://[::1]:1883", V6),
        ("tls:a.example:8883", BrokerAddress("tls", "a.example", 8883, "")),
        ("ssl:a.example:8883", BrokerAddress("tls", "a.example", 8883, "")),
        ("mqtts://a.example", BrokerAddress("tls", "a.example", 8883, "")),
        ("mqtts://a.example:443", BrokerAddress("tls", "a.example", 443, "")),
        ("tcp:[::1]:1883", V6),
        ("tcp:host=[::1]:port=1883", V6),
        ("tcp://localhost", LOCAL),
        ("tcp://[::1]:1883", V6),
        ("ssl://a.example", BrokerAddress("tls", "a.example", 8883, "")),
        ("tls://a.example:443", BrokerAddress("tls", "a.example", 443, "")),
        ("ws://a.example:8080/a/b", BrokerAddress("ws", "a.example", 8080, "/a/b")),
        ("ws://a.example/", BrokerAddress("ws", "a.example", 80, "/")),
        ("ws://a.example", BrokerAddress("ws", "a.example", 80, "/mqtt")),
        ("WSS://[::1]/ws", BrokerAddress("wss", "::1", 443, "/ws")),
        # IDNA as of 2008, whatever the capitals.
        ("tls:straße.de:8883", BrokerAddress("tls", "xn--strae-oqa.de", 8883, "")),
        ("mqtt://MÜNCHEN.de", BrokerAddress("tcp", "xn--mnchen-3ya.de", 1883, "")),
        ("tls:Db_1.Example:8883", BrokerAddress("tls", "db_1.example", 8883, "")),
        ("unix:/run/broker", BrokerAddress("unix", "", 0, "/run/broker")),
        ("unix:path=/run/broker:timeout=9", BrokerAddress("unix", "", 0, "/run/broker")),
        (r"unix:/run/a\:b\=c", BrokerAddress("unix", "", 0, "/run/a:b=c")),
    ],
)
def test_the_forms_of_a_broker_address(text: str, address: BrokerAddress) -> None:
    assert broker(text) == address
    assert broker(str(address)) == address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (LOCAL, "tcp:localhost:1883"),
        (BrokerAddress("tls", "a.example", 8883, ""), "tls:a.example:8883"),
        (V6, "tcp:[::1]:1883"),
        (BrokerAddress("ws", "::1", 8080, "/mqtt"), "ws://[::1]:8080/mqtt"),
        (BrokerAddress("wss", "a.example", 443, "/"), "wss://a.example:443/"),
        (BrokerAddress("unix", "", 0, "/run/broker"), "unix:/run/broker"),
    ],
)
def test_a_broker_address_shows_itself_as_it_is_written(address: BrokerAddress, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty; say where the broker listens: tcp:HOST:PORT"),
        ("localhost", "must be one of tcp:HOST:PORT"),
        ("localhost:1883", "must be one of tcp:HOST:PORT"),
        ("http://localhost", "must be one of tcp:HOST:PORT"),
        ("tcp", "needs host and port once each"),
        ("tcp:localhost", "needs host and port once each"),
        ("tcp:localhost:1883:9", "needs host and port once each"),
        ("tcp:::1:1883", "an IPv6 address stands in brackets: tcp:[::1]:1883"),
        ("tcp:[::x]:1883", "has an IPv6 address that is not valid"),
        ("tcp:[fe80::1%eth0]:1883", "has an IPv6 address with a zone"),
        ("ws://[fe80::1%25eth0]", "has an IPv6 address with a zone"),
        ("tcp:[]:1883", "needs the name or the address of a host"),
        ("tcp:localhost:host=x:port=1", "needs host and port once each"),
        ("tcp:host=a:host=b:port=1", "has a setting that is not used here"),
        ("ssl:localhost:1883:privateKey=/k", "certificates go in tls_ca"),
        ("tcp::1883", "needs the name or the address of a host"),
        ("tcp://localhost:1883/a", "must end after the port"),
        ("ws://localhost/a?b", "must end after the path"),
        ("ws://localhost/a b", "must have no blanks"),
        ("wss://me:pass@h/mqtt", "put them in username and password"),
        ("tcp:a b:1883", "needs the name or the address of a host"),
        (r"tcp:\:\:x:1883", "has an IPv6 address that is not valid"),
        ("tcp:a..b:1883", "needs the name or the address of a host"),
        (f"tcp:{'a' * 64}.de:1883", "needs the name or the address of a host"),
        ("tcp:☃.net:1883", "has a host that is no name by IDNA 2008; write its form that begins with xn--"),
        ("tcp:ä_b:1883", "write its form that begins with xn--"),
        ("tcp:localhost:0", "needs a port from 1 to 65535"),
        ("tcp:localhost:65536", "needs a port from 1 to 65535"),
        ("tcp:localhost:mqtt", "needs a port from 1 to 65535"),
        ("tcp:localhost:", "needs a port from 1 to 65535"),
        ("unix:", "needs an absolute path"),
        ("unix:run/broker", "needs an absolute path"),
        ("mqtt://", "needs the name or the address of a host"),
        ("mqtt://h:0", "needs a port from 1 to 65535"),
        ("mqtt://h:99999", "is no valid URL"),
        ("mqtt://[::1", "is no valid URL"),
        ("mqtt://h/STARS4ALL", "must end after the port"),
        ("mqtt://h?x=1", "must end after the port"),
        ("mqtt://me:pass@h", "put them in username and password"),
    ],
)
def test_a_wrong_broker_address_is_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        broker(text)


@given(st.text(min_size=1).map("/".__add__))
def test_any_path_of_a_socket_can_be_written(path: str) -> None:
    address = BrokerAddress("unix", "", 0, path)
    assert broker(str(address)) == address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:9273", "127.0.0.1:9273"),
        ("[::1]:9273", "[::1]:9273"),
        ("localhost:80", "127.0.0.1:80"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::]:65535", "[::]:65535"),
        ("[0:0::1]:9273", "[::1]:9273"),
    ],
)
def test_where_tessflux_itself_listens(text: str, shown: str) -> None:
    address = listen(text)
    assert (str(address), listen(shown)) == (shown, address)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "9273",
            ":9273",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:x",
            "::1:9273",
        ),
        *("[::1]", "[127.0.0.1]:9273", "example.org:9273", "[::1:9273", "::1]:9273", "127.1:9273", " :1"),
    ],
)
def test_where_tessflux_cannot_listen(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|needs a port"):
        listen(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        ("http://localhost:8086", "http://localhost:8086"),
        ("http://localhost/", "http://localhost"),
        ("https://h/influx/", "https://h/influx"),
        ("HTTPS://[::1]:8086//", "https://[::1]:8086"),
        ("http://straße.de:8086/a", "http://xn--strae-oqa.de:8086/a"),
        ("http://MÜNCHEN.de", "http://xn--mnchen-3ya.de"),
        ("http://My_Db:8086", "http://my_db:8086"),
        (",", ""),
        ("http://a:1/, https://b ,http://a:1", "http://a:1,https://b"),
        ("http://a\n  http://b,\n", "http://a,http://b"),
    ],
)
def test_the_forms_of_a_url(text: str, url: str) -> None:
    assert http_urls(text) == url


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("http://a, b:8086", "must begin with http:// or https://"),
        ("localhost:8086", "must begin with http:// or https://"),
        ("ftp://localhost", "must begin with http:// or https://"),
        ("http://", "needs the name or the address of a host"),
        ("http://:8086", "needs the name or the address of a host"),
        ("http://[::1", "is no valid URL"),
        ("http://h:70000", "is no valid URL"),
        ("http://h:port", "is no valid URL"),
        ("http://h:0", "needs a port from 1 to 65535"),
        ("http://user@h", "must have no user and no password in it"),
        ("http://h/?u=x", "must end before any ? or #"),
        ("http://h/#x", "must end before any ? or #"),
        ("http://h/a b", "must have no blanks"),
        ("http://h/ñ", "no letters outside ASCII in its path"),
        ("http://☃.net/", "write its form that begins with xn--"),
    ],
)
def test_a_wrong_url_is_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        http_urls(text)


@given(st.text(), st.sampled_from(["", "tcp:", "tls:h:", "tcp:[", "unix:", "mqtt://", "ws://", "http://"]))
def test_whatever_the_text_it_is_an_address_or_a_value_error(text: str, start: str) -> None:
    for parse in (broker, http_urls):
        cause = None
        try:
            assert parse(start + text) is not None
        except ValueError as error:
            cause = error.__cause__
        assert cause is None
