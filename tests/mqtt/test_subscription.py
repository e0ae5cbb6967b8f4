"""What a connection is subscribed to: a real session on a wire whose broker the test plays."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from tessflux.config.addresses import BrokerAddress
from tessflux.config.sections import MqttConfig, Version
from tessflux.errors import ServerError
from tessflux.logs import RateLimit
from tessflux.mqtt.pahoclient import IDENTIFIERS, IN_USE
from tessflux.mqtt.session import RESPONSE_TIMEOUT, Session
from tessflux.mqtt.subscriber import PROBLEM_PERIOD
from tessflux.mqtt.subscription import (
    REGISTER_LOSSES,
    RETRY_IN_USE,
    RETRY_REFUSED,
    RETRY_REGISTERS,
    Asking,
    Subscription,
)
from tests.mqtt.site import CONFIG, Case, Memory
from tests.mqtt.wire import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    Wire,
    connack,
    mid_of,
    suback,
    topics_of,
    unsuback,
)


class Broker:
    """Has one persistent session. It answers a packet when the test says `step`."""

    def __init__(self, *topics: str, version: Version = "3.1.1", deny: Iterable[str] = ()) -> None:
        self.topics: set[str] | None = set(topics) or None
        self.denied = set(deny)
        self.in_use = False
        """Whether it takes our packet identifiers for those of its own messages."""
        self.version = version
        self._wire: Wire | None = None
        self._questions: list[tuple[int, bytes]] = []
        self.asked: list[tuple[int, list[str]]] = []

    def meet(self, session: Session, clock: Clock) -> Wire:
        """Accept a connection; the session of the one before goes on."""
        self._questions.clear()
        self._wire = wire = Wire(session, clock)
        wire.open()
        wire.sent()
        wire.bring(connack(session_present=self.topics is not None, version=self.version))
        self.topics = self.topics or set()
        return wire

    @property
    def busy(self) -> bool:
        assert self._wire is not None
        self._questions += self._wire.sent()
        return bool(self._questions)

    def step(self, *, answer: bool = True) -> None:
        """Do what the next packet asks for, and answer unless the connection breaks first."""
        assert self.busy
        assert self._wire is not None
        assert self.topics is not None
        kind, body = self._questions.pop(0)
        topics = [topic for topic, _ in topics_of(kind, body, self.version)]
        self.asked.append((kind, topics))
        allowed = [topic not in self.denied and not self.in_use for topic in topics]
        given = {topic for topic, ok in zip(topics, allowed, strict=True) if ok}
        if kind == SUBSCRIBE:
            self.topics |= given
            codes = [1 if ok else IN_USE if self.in_use else 0x80 for ok in allowed]
            reply = suback(mid_of(body), *codes, version=self.version)
        else:
            self.topics -= given if self.version == "5" else set(topics)
            codes = [0 if ok else 0x87 for ok in allowed] if self.version == "5" else []
            reply = unsuback(mid_of(body), *codes, version=self.version)
        if answer:
            self._wire.bring(reply)

    def take_questions(self) -> list[tuple[int, list[str]]]:
        asked, self.asked = self.asked, []
        return asked


class SubscriptionCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.refusals = RateLimit(self.clock, period=PROBLEM_PERIOD, lines=10)
        self.asking = Asking(self.clock)

    def connect(self, broker: Broker, memory: Memory, config: MqttConfig = CONFIG) -> Subscription:
        """A connection that the broker has accepted."""
        spoken = replace(config, keepalive=3600, version=broker.version)
        session = Session(spoken, lambda *message: None, lambda: None, self.clock, self.clock.seconds)
        session.lost.addErrback(lambda _: None)
        self.wires.append(broker.meet(session, self.clock))
        return Subscription(session, config, memory, self.clock, self.refusals, self.asking)

    def synchronise(self, subscription: Subscription) -> "Deferred[Any]":
        return Deferred.fromCoroutine(subscription.synchronise())

    def finish(self, done: "Deferred[Any]", broker: Broker, memory: Memory) -> None:
        """Let disk and broker do all that is asked of them."""
        while memory.busy or broker.busy:
            if memory.busy:
                memory.step()
            else:
                broker.step()
        assert self.successResultOf(done) is None


class SynchroniseTest(SubscriptionCase):
    def test_a_topic_is_remembered_before_the_broker_hears_of_it(self) -> None:
        broker, memory = Broker(), Memory(slow=True)
        done = self.synchronise(self.connect(broker, memory))
        assert not broker.busy
        memory.step()
        assert memory.topics == {"a", "b"}
        assert broker.busy
        self.finish(done, broker, memory)
        assert broker.topics == {"a", "b"}

    def test_a_topic_is_forgotten_only_after_the_broker_has(self) -> None:
        broker, memory = Broker("a", "old"), Memory("a", "old", slow=True)
        done = self.synchronise(self.connect(broker, memory))
        for _ in range(2):
            memory.step()
        broker.step()
        assert broker.busy
        assert not memory.busy
        assert memory.topics == {"a", "b", "old"}
        self.finish(done, broker, memory)
        assert broker.take_questions() == [(SUBSCRIBE, ["a", "b"]), (UNSUBSCRIBE, ["old"])]
        assert memory.topics == broker.topics == {"a", "b"}
        assert self.log(LogLevel.info) == ["Subscribed to ['a', 'b']", "Unsubscribed from ['old']"]

    def test_a_broker_that_has_no_session_of_ours_is_asked_to_unsubscribe_from_nothing(self) -> None:
        broker, memory = Broker(), Memory("a", "old")
        self.finish(self.synchronise(self.connect(broker, memory)), broker, memory)
        assert broker.take_questions() == [(SUBSCRIBE, ["a", "b"])]
        assert memory.topics == {"a", "b"}

    def test_a_session_that_has_what_is_wanted_costs_no_write(self) -> None:
        broker, memory = Broker("a", "b"), Memory("a", "b", slow=True)
        done = self.synchronise(self.connect(broker, memory))
        memory.step()
        broker.step()
        assert not memory.busy
        self.successResultOf(done)

    def test_each_session_has_a_memory_of_its_own(self) -> None:
        memory = Memory("old")
        other = replace(CONFIG, client_id="other")
        broker = Broker("x")
        self.finish(self.synchronise(self.connect(broker, memory, other)), broker, memory)
        assert memory.topics == {"old"}
        assert memory.kept["other"] == {"a", "b"}

    def test_a_share_group_is_joined_and_left_as_topics_are(self) -> None:
        broker, memory = Broker("a", "b"), Memory("a", "b")
        subscription = self.connect(broker, memory, replace(CONFIG, share_group="g", share_member=1))
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == memory.topics == {"$share/g/a", "$share/g/b"}
        subscription.want(CONFIG)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == memory.topics == {"a", "b"}
        # Never both at once: what another member stores would be stored here too.
        kinds = [kind for kind, _ in broker.take_questions()]
        assert kinds == [UNSUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE]

    def test_another_group_is_joined_before_the_former_is_left(self) -> None:
        broker, memory = Broker(), Memory()
        subscription = self.connect(broker, memory, replace(CONFIG, share_group="g"))
        self.finish(self.synchronise(subscription), broker, memory)
        subscription.want(replace(CONFIG, share_group="h"))
        self.finish(self.synchronise(subscription), broker, memory)
        assert [kind for kind, _ in broker.take_questions()] == [SUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE]

    def test_a_session_is_known_by_whatever_name_its_broker_has(self) -> None:
        broker, memory = Broker("a", "old"), Memory("a", "old")
        same = replace(CONFIG, broker=BrokerAddress("tls", "127.0.0.1", 8883, ""))
        self.finish(self.synchronise(self.connect(broker, memory, same)), broker, memory)
        assert broker.topics == memory.topics == {"a", "b"}

    def test_a_broker_that_does_not_answer_is_not_waited_for_for_ever(self) -> None:
        broker, memory = Broker(), Memory()
        done = self.synchronise(self.connect(broker, memory))
        self.clock.pump([RESPONSE_TIMEOUT])
        self.failureResultOf(done, DeferredTimeout)

    @given(
        lives=st.lists(
            st.tuples(
                st.sets(st.sampled_from("abcd"), min_size=1),
                st.lists(st.sampled_from(["work", "unanswered", "reload"]), max_size=8),
                st.booleans(),
            ),
            max_size=6,
        ),
        wanted=st.sets(st.sampled_from("abcd"), min_size=1),
    )
    # Subscribed, unsubscribed without an answer, killed.
    @example(lives=[({"a", "b"}, ["work"] * 3, False), ({"b"}, ["work", "unanswered"], False)], wanted={"b"})
    def test_a_crash_at_any_moment_leaves_no_topic_that_is_not_wanted(
        self, lives: list[tuple[set[str], list[str], bool]], wanted: set[str]
    ) -> None:
        broker, memory = Broker(), Memory(slow=True)

        def config(topics: set[str]) -> MqttConfig:
            return replace(CONFIG, topics=tuple(sorted(topics)))

        for topics, steps, forgets in lives:
            subscription = self.connect(broker, memory, config(topics))
            self.synchronise(subscription).addErrback(lambda _: None)
            for step in steps:
                if step == "reload":
                    subscription.want(config(topics ^ {"a", "c"} or {"d"}))
                    self.synchronise(subscription).addErrback(lambda _: None)
                elif memory.busy:
                    memory.step()
                elif broker.busy:
                    broker.step(answer=step == "work")
                    if step == "unanswered":
                        break
            memory.crash()
            self.wires[-1].close()
            if forgets:
                broker.topics = None
        done = self.synchronise(self.connect(broker, memory, config(wanted)))
        self.finish(done, broker, memory)
        assert broker.topics == memory.topics == wanted
        self.end()


class RefusalTest(SubscriptionCase):
    def test_while_identifiers_are_in_use_a_kept_session_goes_on_and_is_asked_again_soon(self) -> None:
        broker, memory = Broker("a", "b"), Memory("a", "b")
        broker.in_use = True
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        assert not self.wires[-1].disconnecting
        assert subscription.granted == {}
        [line] = self.log(LogLevel.error)
        assert line == (
            "The broker refuses {'a': 'Packet identifier in use', 'b': 'Packet identifier in use'};"
            " the others go on. It is asked again in 5 s."
        )
        assert len(broker.take_questions()) == IDENTIFIERS
        self.clock.advance(RETRY_IN_USE)
        assert subscription.overdue
        broker.in_use = False
        self.finish(self.synchronise(subscription), broker, memory)
        assert subscription.granted == {"a": 1, "b": 1}
        assert not subscription.overdue

    def test_without_a_kept_session_such_a_broker_is_of_no_use(self) -> None:
        broker, memory = Broker(), Memory()
        broker.in_use = True
        done = self.synchronise(self.connect(broker, memory))
        while broker.busy:
            broker.step()
        assert "Packet identifier in use" in str(self.failureResultOf(done, ServerError).value)

    def test_what_is_refused_for_good_and_what_is_in_use_are_told_apart(self) -> None:
        broker, memory = Broker("b", deny={"a"}), Memory("b")
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        assert "It is asked again in 300 s." in self.log(LogLevel.error)[0]
        broker.in_use = True
        self.clock.advance(RETRY_REFUSED)
        self.finish(self.synchronise(subscription), broker, memory)
        broker.in_use = False
        self.clock.advance(RETRY_IN_USE)
        self.finish(self.synchronise(subscription), broker, memory)
        self.clock.advance(RETRY_IN_USE)
        assert not subscription.overdue

    def test_what_is_refused_is_asked_for_again_on_the_same_connection(self) -> None:
        broker, memory = Broker(deny={"b"}), Memory()
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        assert "The broker refuses {'b': 'Unspecified error'}" in self.log(LogLevel.error)[0]
        for _ in range(2):
            assert not subscription.overdue
            self.clock.advance(RETRY_REFUSED)
            assert subscription.overdue
            self.finish(self.synchronise(subscription), broker, memory)
        # Each time after five minutes; it is logged again after ten.
        assert len(self.log(LogLevel.error)) == 2
        broker.denied.clear()
        self.clock.advance(RETRY_REFUSED)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == {"a", "b"}
        assert not subscription.overdue
        assert broker.take_questions() == [(SUBSCRIBE, ["a", "b"])] + [(SUBSCRIBE, ["b"])] * 3
        assert self.log(LogLevel.info)[-1] == "Subscribed to ['b']"
        self.clock.advance(RETRY_REFUSED)
        assert not subscription.overdue

    def test_what_was_granted_and_is_refused_again_is_news(self) -> None:
        broker, memory = Broker(), Memory()
        subscription = self.connect(broker, memory)
        for denied, lines in (({"b"}, 1), (set(), 1), ({"b"}, 2)):
            broker.denied = denied
            subscription.want(replace(CONFIG, topics=("a",)))
            self.finish(self.synchronise(subscription), broker, memory)
            subscription.want(CONFIG)
            self.finish(self.synchronise(subscription), broker, memory)
            assert len(self.log(LogLevel.error)) == lines

    def test_a_broker_that_refuses_everything_is_of_no_use(self) -> None:
        broker, memory = Broker(deny={"a", "b"}), Memory()
        done = self.synchronise(self.connect(broker, memory))
        broker.step()
        error = self.failureResultOf(done, ServerError).value
        assert "the broker refuses the subscription: {'a': 'Unspecified error', 'b'" in str(error)

    def test_a_broker_that_refuses_all_that_a_reload_leaves_is_of_no_use_either(self) -> None:
        broker, memory = Broker(deny={"c"}), Memory()
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        subscription.want(replace(CONFIG, topics=("c",)))
        done = self.synchronise(subscription)
        while broker.busy:
            broker.step()
        error = self.failureResultOf(done, ServerError).value
        assert "the broker refuses the subscription: {'c': 'Unspecified error'}" in str(error)

    def test_a_reload_asks_again_at_once(self) -> None:
        broker, memory = Broker(deny={"b"}), Memory()
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        broker.denied.clear()
        subscription.want(CONFIG)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == {"a", "b"}

    def test_by_mqtt_5_an_unsubscription_may_be_refused_and_is_asked_for_again(self) -> None:
        broker, memory = Broker("old", version="5", deny={"old"}), Memory("old")
        subscription = self.connect(broker, memory)
        self.finish(self.synchronise(subscription), broker, memory)
        assert "The broker refuses {'old': 'Not authorized'}" in self.log(LogLevel.error)[0]
        assert broker.topics == memory.topics == {"a", "b", "old"}
        broker.denied.clear()
        self.clock.advance(RETRY_REFUSED)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == memory.topics == {"a", "b"}


REGISTERS = replace(CONFIG, register_topics=("r", "s"))


class RegisterTopicsTest(SubscriptionCase):
    def test_they_are_asked_for_once_the_readings_are_granted(self) -> None:
        broker, memory = Broker(), Memory()
        subscription = self.connect(broker, memory, REGISTERS)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.take_questions() == [(SUBSCRIBE, ["a", "b"]), (SUBSCRIBE, ["r", "s"])]
        assert broker.topics == memory.topics == {"a", "b", "r", "s"}
        subscription.want(CONFIG)
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.topics == memory.topics == {"a", "b"}

    def test_one_that_is_a_topic_of_readings_too_is_asked_for_once(self) -> None:
        broker, memory = Broker(), Memory()
        subscription = self.connect(broker, memory, replace(REGISTERS, topics=("a", "r")))
        self.finish(self.synchronise(subscription), broker, memory)
        assert broker.take_questions() == [(SUBSCRIBE, ["a", "r"]), (SUBSCRIBE, ["s"])]

    def test_a_broker_that_refuses_them_brings_the_readings_and_is_no_problem(self) -> None:
        broker, memory = Broker(deny={"r", "s"}), Memory()
        subscription = self.connect(broker, memory, REGISTERS)
        self.finish(self.synchronise(subscription), broker, memory)
        assert subscription.granted == {"a": 1, "b": 1}
        assert (subscription.refused, subscription.without_registers) == ((), ("r", "s"))
        assert self.log(LogLevel.error) == []
        broker.denied.clear()
        self.clock.advance(RETRY_REFUSED)
        assert subscription.overdue
        self.finish(self.synchronise(subscription), broker, memory)
        assert (broker.topics, subscription.without_registers) == ({"a", "b", "r", "s"}, ())

    def test_a_broker_that_grants_nothing_else_is_of_no_use(self) -> None:
        broker, memory = Broker(deny={"a", "b"}), Memory()
        done = self.synchronise(self.connect(broker, memory, REGISTERS))
        while broker.busy:
            broker.step()
        assert "refuses the subscription" in str(self.failureResultOf(done, ServerError).value)

    def test_a_broker_that_refuses_the_readings_when_it_is_asked_again_is_of_no_use_either(self) -> None:
        broker, memory = Broker(), Memory()
        subscription = self.connect(broker, memory, REGISTERS)
        self.finish(self.synchronise(subscription), broker, memory)
        broker.denied = {"c"}
        subscription.want(replace(REGISTERS, topics=("c",)))
        done = self.synchronise(subscription)
        while broker.busy:
            broker.step()
        assert "refuses the subscription" in str(self.failureResultOf(done, ServerError).value)

    def test_one_that_ends_connections_for_it_is_asked_again_an_hour_later(self) -> None:
        broker, memory = Broker(), Memory()

        def asked() -> list[tuple[int, list[str]]]:
            """On a connection that the broker ends when it is asked for register topics."""
            subscription = self.connect(broker, memory, REGISTERS)
            done = self.synchronise(subscription)
            done.addErrback(lambda _: None)
            while memory.busy or broker.busy:
                if memory.busy:
                    memory.step()
                else:
                    broker.step(answer=not broker.asked)
                    if len(broker.asked) == 2:
                        self.wires[-1].close()
            return broker.take_questions()

        assert [len(asked()) for _ in range(REGISTER_LOSSES + 2)] == [2, 2, 1, 1]
        self.clock.advance(RETRY_REGISTERS)
        assert [len(asked()) for _ in range(2)] == [2, 1], "it is of no use still"
        self.clock.advance(RETRY_REGISTERS)
        subscription = self.connect(broker, memory, REGISTERS)
        self.finish(self.synchronise(subscription), broker, memory)
        assert subscription.without_registers == ()
        assert self.asking.helps
