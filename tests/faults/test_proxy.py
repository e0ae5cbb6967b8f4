"""The proxy plays the fault that it is given, and nothing else."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy
from tests.faults.relay import TO_CLIENT, TO_SERVER
from tests.real.site import DEADLINE, wait_until


class Echo:
    """A server that gives back what it gets, and remembers it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            # A shutdown wakes the thread in accept, a close does not.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(tmp_path: Path, echo: Echo) -> Iterator[Proxy]:
    with Proxy(tmp_path, "proxy", echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)


def read(client: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if the connection ends."""
    data = b""
    while len(data) < size:
        try:
            piece = client.recv(size - len(data))
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return data


def ends(client: socket.socket) -> bool:
    return read(client, 1) == b""


def is_reset(proxy: Proxy) -> bool:
    """Whether a new connection ends at once; the reset may come before we hear of the connection."""
    try:
        with connect(proxy) as client:
            return ends(client)
    except ConnectionResetError:
        return True


def test_everything_passes_both_ways_unchanged(proxy: Proxy) -> None:
    data = bytes(range(256)) * 8192
    with connect(proxy) as client:
        writer = threading.Thread(target=client.sendall, args=(data,))
        writer.start()
        assert read(client, len(data)) == data
        writer.join()
        assert proxy.state() == {"mode": "pass", "open": 1, "accepted": 1, "cuts": 0}
    wait_until(lambda: proxy.state()["open"] == 0, "the end of the client is that of the connection")


def test_refusing_resets_what_is_open_and_lets_nobody_in_until_healed(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        proxy.refuse()
        assert ends(client)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
    proxy.heal()
    with connect(proxy) as client:
        client.sendall(b"b")
        assert read(client, 1) == b"b"


def test_reset_accepts_and_resets(proxy: Proxy) -> None:
    proxy.reset()
    assert is_reset(proxy)
    assert proxy.state()["accepted"] == 1


def test_silence_accepts_and_holds_back_until_healed(proxy: Proxy, echo: Echo) -> None:
    proxy.silence()
    with connect(proxy) as client:
        client.sendall(b"abc")
        wait_until(lambda: proxy.state()["accepted"] == 1, "it is accepted")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert echo.heard == b""
        client.settimeout(DEADLINE)
        proxy.heal()
        assert read(client, 3) == b"abc"


def test_silence_towards_the_client_lets_requests_through(proxy: Proxy, echo: Echo) -> None:
    proxy.silence(TO_CLIENT)
    with connect(proxy) as client:
        client.sendall(b"abc")
        wait_until(lambda: echo.heard == b"abc", "the server has it")
        proxy.heal()
        assert read(client, 3) == b"abc"


def test_what_is_delayed_or_trickles_arrives_whole(proxy: Proxy) -> None:
    data = bytes(range(100))
    for play in (lambda: proxy.delay(0.02), lambda: proxy.trickle(7, 0.001)):
        play()
        with connect(proxy) as client:
            client.sendall(data)
            assert read(client, len(data)) == data


def test_what_trickles_comes_in_pieces(proxy: Proxy) -> None:
    proxy.trickle(7, 0.01, TO_CLIENT)
    with connect(proxy) as client:
        client.sendall(bytes(21))
        pieces: list[int] = []
        while sum(pieces) < 21:
            pieces.append(len(client.recv(100)))
        assert max(pieces) < 21


def test_a_request_is_cut_after_so_many_bytes_and_so_often(proxy: Proxy, echo: Echo) -> None:
    proxy.cut_request(5, times=2)
    for _ in range(2):
        with connect(proxy) as client:
            client.sendall(b"0123456789")
            assert len(read(client, 10)) <= 5
    wait_until(lambda: bytes(echo.heard) == b"0123401234", "five bytes of each")
    assert proxy.state()["cuts"] == 2
    with connect(proxy) as client:
        client.sendall(b"0123456789")
        assert read(client, 10) == b"0123456789"


def test_an_answer_is_cut_after_so_many_bytes_counted_from_then_on(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as client:
        client.sendall(b"before")
        assert read(client, 6) == b"before"
        proxy.cut_response(4)
        client.sendall(b"0123456789")
        assert read(client, 10) == b"0123"
    assert bytes(echo.heard) == b"before0123456789"


def test_an_answer_can_be_kept_back_whole(proxy: Proxy, echo: Echo) -> None:
    proxy.cut_response(0)
    with connect(proxy) as client:
        client.sendall(b"0123456789")
        assert ends(client)
    assert echo.heard == b"0123456789"


def test_garbage_comes_in_place_of_the_answer_and_its_connection_ends_with_it(
    proxy: Proxy, echo: Echo
) -> None:
    data = b"0123456789" * 10
    proxy.garbage()
    with connect(proxy) as client:
        client.sendall(data)
        got = read(client, len(data))
        assert len(got) == len(data)
        assert got != data
        client.sendall(b"what is this?")
        proxy.heal()
        assert ends(client)
    assert echo.heard == data


def test_garbage_towards_the_server_spares_what_comes_back(proxy: Proxy, echo: Echo) -> None:
    proxy.garbage(TO_SERVER)
    with connect(proxy) as client:
        client.sendall(b"0123456789")
        assert read(client, 10) == bytes(echo.heard) != b"0123456789"


def test_cut_now_ends_what_is_open_and_nothing_else(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert read(client, 1) == b"a"
        proxy.cut_now()
        assert ends(client)
    with connect(proxy) as client:
        client.sendall(b"b")
        assert read(client, 1) == b"b"


def test_a_client_whose_server_does_not_listen_is_reset(proxy: Proxy, echo: Echo) -> None:
    echo.close()
    assert is_reset(proxy)
