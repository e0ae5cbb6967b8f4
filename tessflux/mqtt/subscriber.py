"""Stays connected to the broker and subscribed, for ever: connect, subscribe, listen, back off, again.

What it receives it hands on at once; when it is acknowledged is decided behind it, after the commit.
"""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from tessflux.config import MqttConfig, Version
from tessflux.errors import ServerError
from tessflux.mqtt.pahoclient import Login
from tessflux.mqtt.session import ANSWER, Refusal, Session
from tessflux.mqtt.subscription import Memory, Subscription
from tessflux.mqtt.version import Choice
from tessflux.readings import Acknowledge, Deliver, Message

log = Logger(namespace="mqtt")

STEADY = 60.0
"""Seconds after which a connection counts as good, and the next attempt comes without a long delay."""

WATCH = 5.0
"""Seconds between two looks at the silence, and at what the broker refused."""

HELD = 1.0
"""Seconds between two looks whether there is room for what a new connection would bring."""

ENOUGH = 100
"""Messages after which it is worth saying that all came at QoS 0."""


class Subscriber(Service):
    """`take` gets each message with the way to acknowledge it; `idle` is called when no more has arrived.

    `memory` keeps what the broker may have us subscribed to, `now` is the time of day in seconds since
    1970 UTC, `backoff` gives the delay after so many failures.
    """

    def __init__(
        self,
        config: MqttConfig,
        *,
        take: Deliver,
        idle: Callable[[], None],
        memory: Memory,
        clock: IReactorTime,
        now: Callable[[], float],
        endpoint: Callable[[MqttConfig], IStreamClientEndpoint],
        backoff: Callable[[int], float],
    ) -> None:
        self._config = config
        self._take, self._idle, self._memory = take, idle, memory
        self._clock, self._now = clock, now
        self._endpoint, self._backoff = endpoint, backoff
        self._versions = Choice(config.version)
        self._session: Session | None = None
        self._subscription: Subscription | None = None
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._complaint = ""
        self._hold = False
        self._again = False
        self._last_message = 0.0
        self._heard = False
        self._at_qos0 = 0

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Disconnect; the broker keeps our session and what we did not acknowledge."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._session is not None:
            self._session.disconnect()
        if self._pause is not None:
            self._pause.cancel()
        if self._loop is not None:
            await self._loop

    def hold(self, hold: bool) -> None:
        """Let the broker wait, or go on."""
        self._hold = hold
        if self._session is not None:
            # Nor is an answer read that may be under way: held for longer than ANSWER, the connection ends.
            self._session.hold(hold)
            if self._subscription is not None:
                self._settle(self._session, self._subscription)

    def redeliver(self) -> None:
        """Have the broker send again what was not acknowledged: it does so for a new connection."""
        if self._session is not None:
            log.info("Connecting anew, for the messages that were left to the broker")
            self._connect_anew(self._session)

    def reconfigure(self, config: MqttConfig) -> None:
        """Change only what changed: other topics are subscribed, another broker or login connects anew."""
        before, self._config = self._config, config
        self._versions, self._complaint = Choice(config.version), ""
        if before.connection != config.connection:
            if self._session is not None:
                log.info("Connecting anew, for the new config")
                self._connect_anew(self._session)
            elif self._pause is not None:
                self._again = True
                self._pause.cancel()
        elif self._session is not None and self._subscription is not None:
            self._subscription.want(config)
            self._settle(self._session, self._subscription)

    def _connect_anew(self, session: Session) -> None:
        """At once: what photometers publish at QoS 0 in between is gone."""
        self._again = True
        session.disconnect()

    async def _run(self) -> None:
        attempt = 0
        while self.running:
            if self._hold:
                # A new connection would bring again what is not acknowledged yet.
                await self._wait(HELD)
                continue
            self._again = False
            began = self._clock.seconds()
            try:
                await self._connection()
            except Exception as error:
                self._explain(error)
            if self._clock.seconds() - began >= STEADY:
                attempt = 0
            if self.running and not self._again:
                await self._wait(self._backoff(attempt))
                attempt += 1
            if self._again:
                attempt = 0

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
        versions = self._versions
        version = versions.next(self._clock.seconds())
        login = Login(config.client_id, config.username, config.password, config.keepalive, version)
        session = Session(login, self._on_message, self._on_idle, self._clock, self._now)
        connecting = connectProtocol(self._endpoint(config), session)
        self._pause = connecting
        try:
            await connecting
        except (CancelledError, ConnectingCancelledError):
            return  # Stopping, or there is a new config.
        finally:
            self._pause = None
        self._session = session
        if self._hold:
            session.hold(True)
        watch = LoopingCall(self._watch, session)
        watch.clock = self._clock
        try:
            await self._shake_hands(session, versions, version)
            self._subscription = Subscription(session, self._config, self._memory, self._clock)
            self._last_message = self._clock.seconds()
            watch.start(WATCH, now=False)
            await self._subscription.settle()
            self._complaint = ""
            reason = await session.lost
        finally:
            self._session = self._subscription = None
            if watch.running:
                watch.stop()
            session.abort("given up")
            if not session.lost.called:
                await session.lost
        if not session.goodbye:
            log.warn("Lost the broker {broker}: {reason}", broker=str(config.broker), reason=reason)

    async def _shake_hands(self, session: Session, versions: Choice, version: Version) -> None:
        try:
            await session.accepted.addTimeout(ANSWER, self._clock)
        except (ServerError, DeferredTimeout) as error:
            if not session.goodbye:
                self._consider_version(versions, error, version)
            raise
        versions.accepted()
        log.info(
            "Connected to the broker {broker} by MQTT {version}, {session} session",
            broker=str(self._config.broker),
            version=version,
            session="in our earlier" if session.session_present else "in a new",
        )

    def _consider_version(self, versions: Choice, error: Exception, version: Version) -> None:
        """The version may be why a handshake failed."""
        now = self._clock.seconds()
        if not isinstance(error, Refusal):
            versions.lost(now)
        elif error.bad_version:
            versions.refused(now)
        else:
            versions.accepted()
        other = versions.next(now)
        if other != version:
            log.warn(
                "The broker does not take MQTT {version}; trying MQTT {other}", version=version, other=other
            )

    def _settle(self, session: Session, subscription: Subscription) -> None:
        """Bring the subscription in line with the config, but not while the broker is held."""

        async def settle() -> None:
            try:
                await subscription.settle()
            except Exception as error:
                # The next connection subscribes to everything, and says what is wrong.
                session.abort(_text(error))

        if not self._hold:
            Deferred.fromCoroutine(settle())

    def _on_message(self, message: Message, acknowledge: Acknowledge | None) -> None:
        self._heard = True
        if self._at_qos0 >= 0:
            self._note_qos(acknowledge is None)
        try:
            self._take(message, acknowledge)
        except Exception:
            log.failure("A message on {topic} could not be taken", topic=message.topic)

    def _on_idle(self) -> None:
        if self._heard:
            self._heard = False
            self._last_message = self._clock.seconds()
        self._idle()

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
        elif self._subscription is not None and self._subscription.overdue:
            self._settle(session, self._subscription)

    def _explain(self, error: Exception) -> None:
        """Say what went wrong, once for as long as it stays the same."""
        if not self.running:
            return
        text = _text(error)
        if text != self._complaint:
            self._complaint = text
            log.error(
                "Cannot use the broker {broker}: {error}; tessflux keeps trying",
                broker=str(self._config.broker),
                error=text,
            )


def _text(error: Exception) -> str:
    if isinstance(error, DeferredTimeout):
        return f"no answer within {ANSWER:.0f} s"
    return str(error) or type(error).__name__
