"""Publishes the messages of a simulated network to a broker.

Rule: `network` decides what is published, and when; here that meets the clock, the broker and the signals.
"""

import math
import os
import random
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from threading import Event
from types import FrameType

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from tessflux.errors import OperatorError, ServerError
from tessflux.simulator.ledger import Ledger
from tessflux.simulator.network import Message, timeline
from tessflux.simulator.options import Settings, parse_options

MAX_PENDING = 1000
"""Messages on their way to the broker, some 300 kB. The simulator waits before it sends more."""

CONNECT_SECONDS = 5.0

RECONNECT_SECONDS = 1
"""It does not grow: at QoS 0 a longer pause would only lose more."""

ACKNOWLEDGE_SECONDS = 60.0
"""How long the end waits for acknowledgements: enough for a restart of the broker."""

STOP_SECONDS = 5.0
"""The same after a signal: whoever stops the simulator does not want to wait."""

TICK_SECONDS = 0.1
"""A signal is noticed within this time."""

PENDING_NAP_SECONDS = 0.005
"""Between two looks at what is pending: a thousand messages in this time are 200,000 a second."""


class Publisher:
    """The connection to the broker. What is sent at QoS 0 while there is none is lost."""

    def __init__(self, settings: Settings, ledger: Ledger | None = None) -> None:
        self.published: Counter[str] = Counter()
        self.lost = 0
        self._address = (settings.host, settings.port)
        self._broker = settings.broker
        self._ledger = ledger
        self._pending: deque[tuple[Message, int, MQTTMessageInfo]] = deque()
        self._answered = Event()
        self._refusal: ReasonCode | None = None
        client_id = f"tess-simulator-{random.SystemRandom().randrange(16**8):08x}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id)
        self._client.username_pw_set(settings.username, settings.password)
        self._client.connect_timeout = CONNECT_SECONDS
        self._client.reconnect_delay_set(RECONNECT_SECONDS, RECONNECT_SECONDS)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect

    def connect(self) -> None:
        """Wait until the broker accepts the connection. Raises ServerError if it does not."""
        try:
            self._client.connect(*self._address)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServerError(f"no MQTT broker at {self._broker}: {reason}") from error
        self._client.loop_start()
        if not self._answered.wait(CONNECT_SECONDS):
            self.close()
            raise ServerError(f"{self._broker} does not answer as an MQTT broker")
        if self._refusal is not None:
            self.close()
            raise ServerError(f"the broker at {self._broker} refuses the connection: {self._refusal}")

    def publish(self, message: Message) -> None:
        """Hand a message to the network thread."""
        at = time.time_ns() // 1_000_000
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if message.qos and info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
            # paho keeps the message for the next connection, but would return this code for ever.
            info.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        self._pending.append((message, at, info))

    def pending(self) -> int:
        """How many messages are not yet written (QoS 0) or acknowledged (QoS 1). The others are counted."""
        while self._pending:
            message, at, info = self._pending[0]
            try:
                if not info.is_published():
                    break
                self.published[message.kind] += 1
                if self._ledger is not None:
                    self._ledger.enter(message, at)
            except RuntimeError:
                self.lost += 1
            self._pending.popleft()
        return len(self._pending)

    def close(self) -> None:
        """Disconnect and end the network thread."""
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, _client: Client, _userdata: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        if self._answered.is_set():
            _warn(f"connected to the broker at {self._broker} again: {reason}")
        elif reason.is_failure:
            self._refusal = reason
        self._answered.set()

    def _on_disconnect(
        self, _client: Client, _userdata: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        if self._answered.is_set() and self._refusal is None:
            _warn(f"lost the connection to the broker at {self._broker} ({reason}); trying again")


class Stop:
    """Whether SIGINT or SIGTERM has come. A flag and short naps need no lock in the signal handler."""

    def __init__(self) -> None:
        self.wanted = False

    def install(self) -> None:
        """Handle both signals, so that Ctrl-C no longer raises KeyboardInterrupt."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True


def play(settings: Settings, publisher: Publisher, stop: Stop) -> None:
    """Publish the timeline at its times until it ends, `seconds` are over or a signal comes.

    If the broker is slow or away, the messages come late but in order.
    """
    began = time.monotonic()
    end = began + (math.inf if settings.seconds is None else settings.seconds)
    for message in timeline(settings.scenario):
        due = min(began + message.after, end)
        while not stop.wanted and (wait := due - time.monotonic()) > 0:
            time.sleep(min(TICK_SECONDS, wait))
        while not stop.wanted and time.monotonic() < end and publisher.pending() >= MAX_PENDING:
            time.sleep(PENDING_NAP_SECONDS)
        if stop.wanted or time.monotonic() >= end:
            return
        publisher.publish(message)
        if settings.verbose:
            _print(f"{message.topic} {message.payload}")


def drain(publisher: Publisher, stop: Stop) -> None:
    """Wait until the broker has everything, or for as long as it may take; less long after a signal."""
    began = time.monotonic()
    while publisher.pending():
        if time.monotonic() - began > (STOP_SECONDS if stop.wanted else ACKNOWLEDGE_SECONDS):
            return
        time.sleep(PENDING_NAP_SECONDS)


def simulate(settings: Settings, stop: Stop) -> int:
    """Connect, publish, and return the exit code. Raises ServerError if there is no broker."""
    with ExitStack() as files:
        ledger = None if settings.ledger is None else files.enter_context(Ledger(settings.ledger))
        publisher = Publisher(settings, ledger)
        publisher.connect()
        _print(f"simulating {settings}")
        began = time.monotonic()
        play(settings, publisher, stop)
        drain(publisher, stop)
        publisher.close()
        pending = publisher.pending()
    readings, registers = publisher.published["reading"], publisher.published["register"]
    lost = f", {publisher.lost} lost while the broker was away" if publisher.lost else ""
    left = f", {pending} not acknowledged" if pending else ""
    took = time.monotonic() - began
    _print(f"published {readings} readings and {registers} registers in {took:.1f} s{lost}{left}")
    return os.EX_UNAVAILABLE if pending and not stop.wanted else 0


def _print(line: str) -> None:
    print(line, flush=True)


def _warn(line: str) -> None:
    print(f"simulator: {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str], stop: Stop) -> int:
    """Run the command line and return the exit code."""
    try:
        return simulate(parse_options(arguments), stop)
    except OperatorError as error:
        _warn(str(error))
        return error.exit_code
    except ServerError as error:
        if stop.wanted:
            return 0
        _warn(str(error))
        return os.EX_UNAVAILABLE
