"""A proxy in front of a broker or a database: what a test asks for has happened when the call returns."""

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from servers import START_SECONDS, Program, free_port

from tests.faults import relay
from tests.faults.relay import BOTH, TO_CLIENT, TO_SERVER

ANSWER_SECONDS = 30.0


class Proxy(Program):
    """Listens on `port` and passes everything on to a server on `server_port`, until a fault is played.

    Each call replaces the fault before it; `relay.Fault` says what each does. With `closes` the server sees
    no connection that is reset, only closed ones.
    """

    def __init__(self, directory: Path, name: str, server_port: int, *, closes: bool = False) -> None:
        self.port, self._control_port = free_port(), free_port()
        ports = map(str, (self.port, server_port, self._control_port))
        options = ["--closes"] if closes else []
        super().__init__(name, [sys.executable, relay.__file__, *ports, *options], directory / f"{name}.log")
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Return when it listens."""
        super().start()
        deadline = time.monotonic() + START_SECONDS
        while self._control is None:
            if not self.running or time.monotonic() > deadline:
                raise self.failure("did not listen")
            try:
                self._control = socket.create_connection(("127.0.0.1", self._control_port), ANSWER_SECONDS)
            except ConnectionRefusedError:
                time.sleep(0.02)
        self._answers = self._control.makefile("r")
        self.state()

    def kill(self) -> None:
        super().kill()
        self._close()

    def stop(self, seconds: float = 5.0) -> None:
        super().stop(seconds)
        self._close()

    def _close(self) -> None:
        if self._control is not None:
            self._answers.close()
            self._control.close()
            self._control = None

    def heal(self) -> None:
        """Pass everything on again, and what was held back."""
        self._play("pass")

    def refuse(self) -> None:
        """Nobody listens; what was open is reset."""
        self._play("refuse")

    def reset(self) -> None:
        """Accept and reset; what was open too."""
        self._play("reset")

    def silence(self, direction: str = BOTH) -> None:
        """Accept, and pass nothing on; with a direction, only that way."""
        self._play("silence", direction=direction)

    def delay(self, seconds: float, direction: str = BOTH) -> None:
        """Each chunk so much later."""
        self._play("delay", seconds=seconds, direction=direction)

    def trickle(self, size: int, seconds: float, direction: str = BOTH) -> None:
        """So many bytes every so many seconds."""
        self._play("trickle", size=size, seconds=seconds, direction=direction)

    def cut_request(self, after: int, times: int = 1) -> None:
        """Reset a connection after so many bytes towards the server, counted from now."""
        self._play("cut", size=after, times=times, direction=TO_SERVER)

    def cut_response(self, after: int, times: int = 1) -> None:
        """Reset a connection after so many bytes towards the client, counted from now.

        With 0 the server has received and answered a request, and the client hears nothing of it.
        """
        self._play("cut", size=after, times=times, direction=TO_CLIENT)

    def garbage(self, direction: str = TO_CLIENT) -> None:
        """Random bytes in place of the true ones."""
        self._play("garbage", direction=direction)

    def cut_now(self) -> None:
        """Reset all that is open; the fault stays as it is."""
        self._order("cut")

    def state(self) -> dict[str, Any]:
        """`mode`, connections that are `open` and were `accepted`, and `cuts` so far."""
        return self._order("state")

    def _play(self, mode: str, **fields: object) -> None:
        self._order({"mode": mode, **fields})

    def _order(self, order: object) -> dict[str, Any]:
        assert self._control is not None, "the proxy was not started"
        self._control.sendall(json.dumps(order).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise self.failure(f"did not do {order}")
        answer: dict[str, Any] = json.loads(line)
        return answer
