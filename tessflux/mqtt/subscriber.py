"""Stays connected to the broker and subscribed, for ever: connect, subscribe, listen, back off, again.

What it receives it hands on at once; when it is acknowledged is decided behind it, after the commit.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from tessflux.config import MqttConfig
from tessflux.errors import ServerError
from tessflux.intake import Message
from tessflux.mqtt.session import Login, Refusal, Session

log = Logger(namespace="mqtt")

HANDSHAKE = 30.0
"""Seconds that the broker may take to answer CONNECT, SUBSCRIBE and UNSUBSCRIBE, and to close."""

STEADY = 60.0
"""Seconds after which a connection counts as good, and the next attempt comes without a long delay."""

WATCH = 5.0
"""Seconds between two looks at the silence."""

ENOUGH = 100
"""Messages after which it is worth saying that all came at QoS 0."""

T = TypeVar("T")
Take = Callable[[Message, Callable[[], None] | None], None]


class Subscriber(Service):
    """`take` gets each message with the way to acknowledge it; `idle` is called when no more has arrived.

    `now` is the time of day in seconds since 1970 UTC, `backoff` gives the delay after so many failures.
    """

    def __init__(
        self,
        config: MqttConfig,
        *,
        take: Take,
        idle: Callable[[], None],
        clock: IReactorTime,
        now: Callable[[], float],
        endpoint: Callable[[MqttConfig], IStreamClientEndpoint],
        backoff: Callable[[int], float],
    ) -> None:
        self._config = config
        self._take, self._idle = take, idle
        self._clock, self._now = clock, now
        self._endpoint, self._backoff = endpoint, backoff
        self._version = config.version
        self._session: Session | None = None
        self._subscribed: frozenset[str] = frozenset()
        self._subscribing = False
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._stopping = False
        self._complaint = ""
        self._hold = False
        self._again = False
        self._last_message = 0.0
        self._at_qos0 = 0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._stopping = False
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Disconnect; the broker keeps our session and what we did not acknowledge."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self._session is not None:
            self._session.disconnect()
        if self._pause is not None:
            self._pause.cancel()
        if self._loop is not None:
            await self._loop

    def hold(self, hold: bool) -> None:
        """Let the broker wait, or go on."""
        self._hold = hold
        if self._session is not None and self._subscribed:
            self._session.hold(hold)

    def redeliver(self) -> None:
        """Have the broker send again what was not acknowledged: it does so for a new connection."""
        if self._session is not None:
            log.info("Connecting anew, for the messages that were left to the broker")
            self._connect_anew(self._session)

    def reconfigure(self, config: MqttConfig) -> None:
        """Change only what changed: other topics are subscribed, another broker or login connects anew."""
        before, self._config = self._config, config
        if _login(before) != _login(config):
            self._version = config.version
            if self._session is not None:
                log.info("Connecting anew, for the new config")
                self._connect_anew(self._session)
            elif self._pause is not None:
                self._pause.cancel()
        elif (session := self._session) is not None and self._subscribed and not self._subscribing:
            Deferred.fromCoroutine(self._resubscribe(session))

    def _connect_anew(self, session: Session) -> None:
        """At once: what photometers publish at QoS 0 in between is gone."""
        self._again = True
        session.disconnect()

    async def _run(self) -> None:
        attempt = 0
        while not self._stopping:
            began = self._clock.seconds()
            try:
                await self._connection()
            except Exception as error:
                self._explain(error)
            if self._clock.seconds() - began >= STEADY:
                attempt = 0
            if self._again:
                self._again, attempt = False, 0
            elif not self._stopping:
                await self._wait(self._backoff(attempt))
                attempt += 1

    async def _wait(self, seconds: float) -> None:
        self._pause = deferLater(self._clock, seconds)
        try:
            await self._pause
        except CancelledError:
            pass  # Stopping, or there is a new config to try at once.
        finally:
            self._pause = None

    async def _connection(self) -> None:
        """One connection, from its beginning to its end."""
        config = self._config
        login = Login(config.client_id, config.username, config.password, config.keepalive, self._version)
        session = Session(login, self._on_message, self._idle, self._clock)
        connecting = connectProtocol(self._endpoint(config), session)
        self._pause = connecting
        try:
            await connecting
        except (CancelledError, ConnectingCancelledError):
            return  # Stopping, or there is a new config.
        finally:
            self._pause = None
        self._session = session
        watch = LoopingCall(self._watch, session)
        watch.clock = self._clock
        try:
            await self._shake_hands(session)
            self._last_message = self._clock.seconds()
            watch.start(WATCH, now=False)
            await self._subscribe(session)
            # Not before: the broker's answers must be read.
            session.hold(self._hold)
            self._complaint = ""
            reason = await session.lost
        finally:
            self._session, self._subscribed = None, frozenset()
            if watch.running:
                watch.stop()
            session.abort("given up")
            if not session.lost.called:
                await session.lost
        if not self._stopping:
            log.warn("Lost the broker {broker}: {reason}", broker=str(config.broker), reason=reason)

    async def _shake_hands(self, session: Session) -> None:
        try:
            await session.accepted.addTimeout(HANDSHAKE, self._clock)
        except ServerError as error:
            refused = not isinstance(error, Refusal) or error.bad_version
            if self._version == "5" and refused and not session.goodbye:
                log.warn("The broker does not take MQTT 5; trying MQTT 3.1.1")
                self._version = "3.1.1"
            raise
        log.info(
            "Connected to the broker {broker} by MQTT {version}, {session} session",
            broker=str(self._config.broker),
            version=self._version,
            session="in our earlier" if session.session_present else "in a new",
        )

    async def _subscribe(self, session: Session) -> None:
        """Subscribe to what the config names, and go on should it change meanwhile."""
        self._subscribing = True
        try:
            while (topics := frozenset(self._config.topics)) != self._subscribed:
                await self._change(session, self._subscribed - topics, topics - self._subscribed)
                self._subscribed = topics
        finally:
            self._subscribing = False

    async def _resubscribe(self, session: Session) -> None:
        try:
            await self._subscribe(session)
        except Exception as error:
            # The next connection subscribes to everything, and says what is wrong.
            session.abort(_text(error))

    async def _change(self, session: Session, gone: frozenset[str], new: frozenset[str]) -> None:
        if gone:
            await self._answer(session.unsubscribe(sorted(gone)))
            log.info("Unsubscribed from {topics}", topics=sorted(gone))
        if new:
            refused = await self._answer(session.subscribe(sorted(new), min(self._config.qos, 1)))
            if len(refused) == len(new):
                raise ServerError(f"the broker refuses the subscription: {refused}")
            if refused:
                log.error("The broker refuses {refused}; the others go on", refused=refused)
            log.info("Subscribed to {topics}", topics=sorted(new - refused.keys()))

    async def _answer(self, request: Coroutine[Deferred[T], Any, T]) -> T:
        return await Deferred.fromCoroutine(request).addTimeout(HANDSHAKE, self._clock)

    def _on_message(
        self, topic: str, payload: bytes, retained: bool, acknowledge: Callable[[], None] | None
    ) -> None:
        self._last_message = self._clock.seconds()
        if self._at_qos0 >= 0:
            self._note_qos(acknowledge is None)
        try:
            self._take(Message(topic, payload, retained, int(self._now() * 1000)), acknowledge)
        except Exception:
            log.failure("A message on {topic} could not be taken", topic=topic)

    def _note_qos(self, qos0: bool) -> None:
        """Say once if nothing comes that the broker would keep for us; -1 means that this is settled."""
        self._at_qos0 = self._at_qos0 + 1 if qos0 else -1
        if self._at_qos0 == ENOUGH:
            self._at_qos0 = -1
            log.info(
                "All messages come at QoS 0: the broker keeps none while tessflux is away."
                " A mosquitto does with 'upgrade_outgoing_qos true'."
            )

    def _watch(self, session: Session) -> None:
        if self._hold:
            self._last_message = self._clock.seconds()
        silence = self._clock.seconds() - self._last_message
        if 0 < self._config.silence <= silence:
            self._last_message = self._clock.seconds()
            session.abort(f"no message for {silence:.0f} s")

    def _explain(self, error: Exception) -> None:
        """Say what went wrong, once for as long as it stays the same."""
        if self._stopping:
            return
        text = _text(error)
        if text != self._complaint:
            self._complaint = text
            log.error(
                "Cannot use the broker {broker}: {error}; tessflux keeps trying",
                broker=str(self._config.broker),
                error=text,
            )


def _login(config: MqttConfig) -> tuple[object, ...]:
    """What a connection is made of; a change of it needs a new connection."""
    return (
        config.broker,
        config.client_id,
        config.username,
        config.password,
        config.version,
        config.keepalive,
        config.qos,
        config.tls_ca,
        config.tls_cert,
        config.tls_key,
    )


def _text(error: Exception) -> str:
    if isinstance(error, DeferredTimeout):
        return f"no answer within {HANDSHAKE:.0f} s"
    return str(error) or type(error).__name__
