"""Photometers under torture: a steady stream of readings at QoS 0 and 1, with rubbish and duplicates in it.

Register messages come in between. No photometer may count from the beginning again by them, and what is new
in them is a point of its own.
A reading counts as published at QoS 1 when the broker has acknowledged it, and at QoS 0 when it left.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from tessflux.readings.reading import Refused, parse
from tests.faults.ledger import NO_TSTAMP, Ledger
from tests.faults.registers import Registers
from tests.faults.site import now_ms
from tests.readings.payloads import cases
from tests.real.site import DEADLINE

TICK = 0.02
"""Seconds between two bursts."""

RUBBISH, DUPLICATES, REGISTERS, WITH_TIME = 0.02, 0.02, 0.02, 0.3
"""Shares of the stream."""

RECENT = 2_000
"""How far back a duplicate may reach: the daemon remembers many times as many."""

LAG_MS = 60_000
"""How old a reading with a time of its own may be."""


class Load:
    """Publishes until it is stopped; until then only its own thread touches `ledger`."""

    def __init__(self, port: int, ledger: Ledger, rate: float, seed: int) -> None:
        self.ledger, self.said = ledger, Registers()
        self.unsent: set[int] = set()
        """QoS 0 readings that never left, since there was no broker."""
        self.rubbish = self.duplicates = self.registers = 0
        self._port, self._rate = port, rate
        self._random = random.Random(seed)
        self._rubbish = [case.payload for case in cases() if isinstance(parse(case.payload), Refused)]
        self._unacknowledged: deque[MQTTMessageInfo] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        # With a clean session, what a restart of the broker interrupts would not be sent again.
        self._client = Client(CallbackAPIVersion.VERSION2, "load", clean_session=False)
        self._client.max_inflight_messages_set(1_000)
        self._client.reconnect_delay_set(1, 1)
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """Publish one more reading at QoS 1, and wait until the broker has acknowledged everything. Since the
        order is kept, that reading is the last to arrive: at QoS 0 it might be published to no broker."""
        self._stopping.set()
        self._thread.join()
        self._publish_new(1)
        deadline = time.monotonic() + DEADLINE
        while self._forget_acknowledged() and time.monotonic() < deadline:
            time.sleep(TICK)
        self._client.disconnect()
        self._client.loop_stop()
        if self.failure is not None:
            raise self.failure
        assert not self._unacknowledged, f"the broker did not take {len(self._unacknowledged)} messages"

    def _run(self) -> None:
        try:
            began, done = time.monotonic(), 0
            while not self._stopping.wait(TICK):
                # After a pause of this process the stream goes on, without a burst to catch up.
                due = int((time.monotonic() - began) * self._rate)
                burst = min(due - done, int(self._rate))
                done = due
                for _ in range(burst):
                    self._one()
                self._forget_acknowledged()
        except BaseException as error:
            self.failure = error

    def _one(self) -> None:
        kind, qos = self._random.random(), self._random.getrandbits(1)
        if kind < RUBBISH:
            self.rubbish += 1
            self._publish("STARS4ALL/rubbish/reading", self._bad_payload(), qos)
        elif kind < RUBBISH + DUPLICATES and len(self.ledger):
            self.duplicates += 1
            last = len(self.ledger) - 1
            sample = self.ledger.sample(self._random.randint(max(0, last - RECENT), last))
            self._publish(sample.topic, sample.payload, qos)
        elif kind < RUBBISH + DUPLICATES + REGISTERS:
            self.registers += 1
            name = f"stars{self._random.randrange(self.ledger.photometers)}"
            self._publish(*self.said.publish(name, qos), qos)
        else:
            self._publish_new(qos)

    def _publish_new(self, qos: int) -> None:
        now = now_ms()
        tstamp = NO_TSTAMP
        if self._random.random() < WITH_TIME:
            tstamp = now - self._random.randrange(LAG_MS)
        number = len(self.ledger)
        sample = self.ledger.publish(now, qos, tstamp)
        if not self._publish(sample.topic, sample.payload, qos) and qos == 0:
            self.unsent.add(number)

    def _publish(self, topic: str, payload: bytes | str, qos: int) -> bool:
        info = self._client.publish(topic, payload, qos)
        if qos:
            self._unacknowledged.append(info)
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _forget_acknowledged(self) -> int:
        """How many are left, from the oldest that the broker has not acknowledged."""
        waiting = self._unacknowledged
        while waiting and waiting[0]._published:  # is_published raises what a reconnection has mended
            waiting.popleft()
        return len(waiting)

    def _bad_payload(self) -> bytes:
        makers: tuple[Callable[[], bytes], ...] = (
            lambda: self._random.choice(self._rubbish),
            lambda: self._random.randbytes(self._random.randrange(1, 300)),
            lambda: (
                self.ledger.sample(0).payload[: self._random.randrange(1, 40)] if len(self.ledger) else b"{"
            ),
        )
        payload = self._random.choice(makers)()
        assert isinstance(parse(payload), Refused)
        return payload
