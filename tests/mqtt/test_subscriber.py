"""The service that stays connected: each test plays the network, the broker and the clock."""

from dataclasses import fields, replace
from typing import Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config.addresses import BrokerAddress
from tessflux.config.secret import Secret
from tessflux.config.sections import MqttConfig
from tessflux.mqtt.session import CLOSE_TIMEOUT, CONNACK_TIMEOUT, RESPONSE_TIMEOUT
from tessflux.mqtt.subscriber import (
    BACKPRESSURE_CHECK,
    PROBLEM_PERIOD,
    QOS_NOTICE,
    STEADY,
    WATCH_PERIOD,
    Subscriber,
)
from tessflux.mqtt.subscription import RETRY_REFUSED
from tessflux.mqtt.version import RETRY_CONFIGURED
from tessflux.readings.message import Message
from tests.mqtt.site import CONFIG, NOW, Case, Memory, Network
from tests.mqtt.wire import (
    CONNECT,
    DISCONNECT,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Wire,
    connack,
    mid_of,
    packet,
    puback,
    publish,
    suback,
    text,
    topics_of,
    unsuback,
)

CHANGES = {
    "topics": {SUBSCRIBE, UNSUBSCRIBE},
    "register_topics": {SUBSCRIBE},
    "share_group": {SUBSCRIBE, UNSUBSCRIBE},
}
WITHOUT_RECONNECT: dict[str, Any] = {
    "topics": ("b", "c"),
    "register_topics": ("r",),
    "share_group": "group",
    "share_member": 3,
    "validation": False,
    "whitelist": frozenset({"x"}),
    "blacklist": frozenset({"x"}),
    "new_photometers": 7,
    "silence": 3600.0,
    "backlog_wait": 60.0,
    "stats": False,
    "log_level": "debug",
}
"""Other values of the fields that are no part of the connection."""


class SubscriberCase(Case):
    """Every test ends with a stop."""

    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.memory = Memory()

    def start(self, config: MqttConfig = CONFIG) -> Subscriber:
        subscriber = Subscriber(
            config,
            take=self.intake.take,
            idle=self.intake.when_idle,
            resumed=self.intake.resumed,
            memory=self.memory,
            clock=self.clock,
            now=self.now,
            endpoint=self.network.endpoint,
            backoff=lambda attempt: float(min(2**attempt, 60)),
        )
        subscriber.startService()
        self.addCleanup(self.finish, subscriber)
        return subscriber

    def finish(self, subscriber: Subscriber) -> None:
        """Stop; nothing is left of the service."""
        if subscriber.running:
            stopped = subscriber.stopService()
            self.clock.pump([0, CLOSE_TIMEOUT, 0])
            self.successResultOf(stopped)
        self.end()
        assert not self.network.connecting
        assert all(wire.closed for wire in self.network.wires)

    def subscribed(self, version: str = "3.1.1", *, stuck: bool = False) -> Wire:
        """Be a broker that accepts everything."""
        wire = self.network.accept(stuck=stuck)
        assert [kind for kind, _ in wire.sent()] == [CONNECT]
        wire.bring(connack(version=version))
        self.agree(wire, version)
        return wire

    def agree(self, wire: Wire, version: str = "3.1.1") -> list[tuple[int, list[tuple[str, int | None]]]]:
        """Grant what waits for an answer; returns what was asked."""
        asked = []
        while questions := wire.sent():
            for kind, body in questions:
                topics = topics_of(kind, body, version)
                asked.append((kind, topics))
                if kind == SUBSCRIBE:
                    wire.bring(suback(mid_of(body), *(qos or 0 for _, qos in topics), version=version))
                else:
                    codes = [0] * len(topics) if version == "5" else []
                    wire.bring(unsuback(mid_of(body), *codes, version=version))
        return asked

    def times(self) -> list[float]:
        return [time for time, _ in self.network.attempts]


class ConnectTest(SubscriberCase):
    def test_it_subscribes_at_qos_1_and_takes_what_comes(self) -> None:
        self.start()
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack())
        [(kind, body)] = wire.sent()
        assert (kind, topics_of(kind, body)) == (SUBSCRIBE, [("a", 1), ("b", 1)])
        wire.bring(suback(mid_of(body), 1, 1))
        self.clock.advance(1.5)
        wire.bring(publish("a", b"one", mid=5) + publish("b", b"two", retained=True))
        assert self.intake.messages == [
            Message("a", b"one", False, 1700000001750, 5),
            Message("b", b"two", True, 1700000001750),
        ]
        self.intake.commit()
        assert wire.value() == puback(5)
        assert self.intake.idle > 0
        assert self.log() == []

    def test_that_an_earlier_session_is_resumed_is_told_before_its_first_message(
        self,
    ) -> None:
        """Also if the broker sends it together with its acceptance."""
        for version in ("3.1.1", "5"):
            subscriber = self.start(replace(CONFIG, version=version))
            before = len(self.intake.messages)
            accepted = connack(session_present=True, version=version)
            waiting = publish("a", b"kept", mid=9, version=version)
            self.network.accept().bring(accepted + waiting + waiting)
            assert self.intake.resumptions == [before]
            assert len(self.intake.messages) == before + 2
            self.finish(subscriber)
            self.intake.resumptions.clear()

    def test_each_connection_in_an_earlier_session_resumes_it(self) -> None:
        self.start()
        for _ in range(2):
            wire = self.network.accept()
            wire.bring(connack(session_present=True))
            wire.close()
            self.clock.pump([0, 1])
        assert len(self.intake.resumptions) == 2

    def test_a_new_session_a_refusal_and_silence_resume_nothing(self) -> None:
        self.start()
        self.network.accept().close()
        self.clock.pump([0, 1])
        self.network.accept().bring(connack(5))
        self.clock.pump([0, 2])
        self.subscribed()
        assert self.intake.resumptions == []

    def test_it_asks_for_the_qos_of_the_config(self) -> None:
        for qos in (1, 0):
            subscriber = self.start(replace(CONFIG, qos=qos, topics=("a",)))
            wire = self.network.accept()
            wire.sent()
            wire.bring(connack())
            assert self.agree(wire) == [(SUBSCRIBE, [("a", qos)])]
            self.finish(subscriber)

    def test_it_backs_off_and_tries_for_ever(self) -> None:
        self.start()
        for attempt in range(9):
            self.network.refuse()
            self.clock.advance(min(2**attempt, 60))
        assert self.times() == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
        assert self.network.connecting

    def test_what_an_endpoint_cannot_read_is_tried_again(self) -> None:
        self.network.broken = OSError("no such certificate")
        self.start()
        self.network.broken = None
        assert self.log(LogLevel.error) == [
            "Cannot use the broker tcp:broker:1883: no such certificate; tessflux keeps trying"
        ]
        self.clock.advance(1)
        self.subscribed()

    def test_others_may_see_whether_it_is_connected_and_what_is_wrong(self) -> None:
        subscriber = self.start()
        began = subscriber.since
        assert (subscriber.connected, subscriber.problem) == (False, "")
        self.network.refuse(OSError("no route"))
        self.clock.advance(60)
        assert (subscriber.connected, subscriber.problem, subscriber.since) == (False, "no route", began)
        wire = self.subscribed()
        connected = self.clock.seconds()
        assert (subscriber.connected, subscriber.problem, subscriber.since) == (True, "", connected)
        self.clock.advance(5)
        wire.close()
        assert (subscriber.connected, subscriber.since) == (False, connected + 5)
        assert subscriber.problem.startswith("the connection was lost: ")

    def test_a_refused_topic_is_seen_while_the_others_go_on(self) -> None:
        subscriber = self.start()
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack())
        [(_, body)] = wire.sent()
        wire.bring(suback(mid_of(body), 1, 0x80))
        assert (subscriber.connected, subscriber.problem) == (True, "it refuses b")

    def test_a_problem_is_logged_once_until_it_has_gone(self) -> None:
        self.start()
        for error in ("one", "one", "two", "two"):
            self.network.refuse(OSError(error))
            self.clock.advance(60)
        self.subscribed().close()
        self.clock.advance(60)
        self.network.refuse(OSError("two"))
        assert [line.split(": ")[-1] for line in self.log(LogLevel.error)] == [
            f"{error}; tessflux keeps trying" for error in ("one", "two", "two")
        ]

    def test_a_problem_that_lasts_is_logged_again_after_ten_minutes(self) -> None:
        self.start()
        for error in ("one", "one", "two", "one", "two"):
            self.network.refuse(OSError(error))
            self.clock.advance(60)
        assert len(self.log(LogLevel.error)) == 2
        self.clock.advance(PROBLEM_PERIOD)
        self.network.refuse(OSError("one"))
        assert len(self.log(LogLevel.error)) == 3

    def test_a_refused_topic_is_logged_once_over_many_connections_and_again_after_a_reload(self) -> None:
        subscriber = self.start()

        def refuse_one() -> list[str]:
            self.clock.advance(0)
            wire = self.network.accept()
            wire.sent()
            wire.bring(connack())
            [(_, body)] = wire.sent()
            wire.bring(suback(mid_of(body), 1, 0x80))
            return [line for line in self.log(LogLevel.error) if "{'b'" in line]

        for _ in range(3):
            assert len(refuse_one()) == 1
            self.network.wires[-1].close()
            self.clock.advance(60)
        subscriber.reconfigure(replace(CONFIG, username="other"))
        assert len(refuse_one()) == 2

    def test_a_lost_connection_is_logged_and_made_again(self) -> None:
        self.start()
        self.subscribed().close()
        assert "Lost the connection to the broker tcp:broker:1883: " in self.log()[0]
        self.clock.advance(1)
        wire = self.subscribed()
        wire.bring(publish("a", b"again"))
        assert self.intake.payloads == [b"again"]

    def test_a_broker_that_cannot_go_on_with_our_session_is_said_so_at_the_third_time(self) -> None:
        """It closes the connection while it sends what it has kept."""
        self.start()
        for delay in (1, 2, 4):
            self.network.accept().bring(connack(session_present=True))
            self.network.wires[-1].close()
            self.clock.advance(delay)
        once, again = self.log(LogLevel.error)
        assert once.endswith("the connection was lost: Connection was closed cleanly; tessflux keeps trying")
        assert "it cannot go on with our earlier session, another [mqtt] client_id begins a new one" in again
        self.subscribed()
        self.network.wires[-1].close()
        self.clock.advance(8)
        self.network.accept().bring(connack(session_present=True))
        self.network.wires[-1].close()
        assert len(self.log(LogLevel.error)) == 3

    def test_our_session_is_blamed_only_for_the_loss_of_connections_that_go_on_with_it(self) -> None:
        subscriber = self.start()
        for delay in (1, 2):
            self.network.accept().bring(connack(session_present=True))
            self.network.wires[-1].close()
            self.clock.advance(delay)
        # A third one in which the topics are refused, and a fourth in a new session.
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack(session_present=True))
        [(_, body)] = wire.sent()
        wire.bring(suback(mid_of(body), 0x80, 0x80))
        self.clock.pump([0, 4])
        self.network.accept().bring(connack())
        self.network.wires[-1].close()
        self.clock.advance(8)
        subscriber.reconfigure(replace(CONFIG, username="other"))
        self.clock.advance(0)
        self.network.accept().bring(connack(session_present=True))
        self.network.wires[-1].close()
        assert "client_id" not in " ".join(self.log())

    def test_what_comes_between_does_not_hide_that_the_broker_cannot_go_on_with_our_session(self) -> None:
        self.start()
        for answer in (True, True, False, True):
            self.network.accept().bring(connack(session_present=True) if answer else connack(3))
            self.network.wires[-1].close()
            self.clock.pump([0, 60])
        assert "another [mqtt] client_id" in self.log(LogLevel.error)[-1]

    def test_the_delay_grows_with_early_losses_and_is_short_again_after_a_steady_connection(
        self,
    ) -> None:
        self.start()
        for attempt in range(3):
            self.subscribed().close()
            self.clock.advance(2**attempt)
        assert self.times() == [0, 1, 3, 7]
        steady = self.subscribed()
        self.clock.pump([1.0] * int(STEADY))
        steady.close()
        self.clock.advance(1)
        assert self.times()[-1] == 7 + STEADY + 1

    def test_a_refused_login_is_logged_once_and_tried_again(self) -> None:
        self.start()
        for _ in range(3):
            wire = self.network.accept()
            wire.bring(connack(5))
            self.clock.advance(0)
            assert wire.closed
            self.clock.advance(60)
        assert len(self.log()) == 1
        assert "the broker refuses: Not authorized; check [mqtt] username and password" in self.log()[0]
        assert self.network.connecting

    def test_a_broker_that_does_not_answer_connect_is_given_up(self) -> None:
        self.start()
        wire = self.network.accept(stuck=True)
        self.clock.advance(CONNACK_TIMEOUT)
        self.clock.advance(0)
        assert wire.aborted
        assert "no answer within 10 s" in self.log(LogLevel.error)[0]
        self.clock.advance(1)
        assert self.network.connecting

    def test_a_broker_that_does_not_answer_subscribe_is_given_up(self) -> None:
        self.start()
        wire = self.network.accept(stuck=True)
        wire.bring(connack())
        self.clock.advance(RESPONSE_TIMEOUT)
        self.clock.advance(0)
        assert wire.aborted
        assert "no answer within 30 s" in self.log()[0]

    def test_a_refused_subscription_is_logged_once_and_tried_again(self) -> None:
        self.start()
        for _ in range(3):
            wire = self.network.accept()
            wire.sent()
            wire.bring(connack())
            [(_, body)] = wire.sent()
            wire.bring(suback(mid_of(body), 0x80, 0x80))
            self.clock.advance(0)
            assert wire.closed
            self.clock.advance(60)
        assert len(self.log()) == 1
        assert "the broker refuses the subscription: {'a'" in self.log()[0]
        self.subscribed()


class VersionTest(SubscriberCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = replace(CONFIG, version="5")

    def version(self, wire: Wire) -> int:
        [(kind, body)] = wire.sent()
        assert kind == CONNECT
        return body[6]

    def test_mqtt_5_is_spoken_with_a_broker_that_takes_it(self) -> None:
        self.start(self.config)
        wire = self.subscribed("5")
        wire.bring(publish("a", b"x", mid=3, version="5"))
        assert self.intake.payloads == [b"x"]
        wire.close()
        self.clock.advance(1)
        assert self.version(self.network.accept()) == 5

    def test_a_broker_that_refuses_mqtt_5_is_asked_for_3_1_1(self) -> None:
        for answer in (connack(0x84, version="5"), connack(1)):
            self.memory = Memory()
            subscriber = self.start(self.config)
            wire = self.network.accept()
            assert self.version(wire) == 5
            wire.bring(answer)
            self.clock.advance(0)
            assert "The broker does not take MQTT 5; trying MQTT 3.1.1" in self.log()
            self.clock.advance(1)
            wire = self.network.accept()
            assert self.version(wire) == 4
            wire.bring(connack())
            self.agree(wire)
            self.finish(subscriber)

    def test_a_broker_that_closes_twice_without_a_word_is_asked_for_3_1_1(self) -> None:
        self.start(self.config)
        for seconds in (1, 2):
            wire = self.network.accept()
            assert self.version(wire) == 5
            wire.close()
            self.clock.advance(seconds)
        assert "The broker gives no answer to MQTT 5; trying MQTT 3.1.1" in self.log()
        self.subscribed().close()
        self.clock.advance(4)
        assert self.version(self.network.accept()) == 4
        self.network.wires[-1].close()
        self.clock.advance(RETRY_CONFIGURED)
        assert self.version(self.network.accept()) == 5

    def test_a_broker_that_never_answers_mqtt_5_is_asked_for_3_1_1_after_ten_seconds(self) -> None:
        self.start(self.config)
        assert self.version(self.network.accept()) == 5
        self.clock.pump([CONNACK_TIMEOUT, 0, 1])
        assert self.version(self.network.accept()) == 4

    def test_that_tls_fails_says_nothing_about_the_version(self) -> None:
        """Nor does a port that has none and keeps silent: it never saw our CONNECT."""
        self.start(replace(self.config, broker=BrokerAddress("tls", "broker", 8883, "")))
        for agreed, words in (
            (False, "certificate verify failed"),
            (False, "wrong version number"),
            (True, "tlsv13 alert certificate required"),
        ):
            for _ in range(2):
                wire = self.network.accept()
                assert self.version(wire) == 5
                if agreed:
                    wire.agree_on_tls()
                wire.close(TLSError([("SSL routines", "", words)]))
                self.clock.advance(60)
        assert self.version(self.network.accept()) == 5
        self.clock.pump([CONNACK_TIMEOUT, 0, 60])
        wire = self.network.accept()
        assert self.version(wire) == 5
        wire.agree_on_tls()
        self.clock.pump([CONNACK_TIMEOUT, 0, 60])
        assert self.version(self.network.accept()) == 4

    def test_who_is_no_broker_says_nothing_about_the_version(self) -> None:
        self.start(self.config)
        for data in (b"\x15\x03\x03\0\2\2\x0a", b"HTTP/1.1 400 Bad Request\r\n\r\n") * 2:
            wire = self.network.accept()
            assert self.version(wire) == 5
            wire.bring(data)
            wire.close()
            self.clock.pump([0, 60])
        assert self.version(self.network.accept()) == 5

    def test_a_broker_that_takes_only_mqtt_5_is_asked_for_it(self) -> None:
        for answer in (connack(0x84, version="5"), connack(1), None):
            self.memory = Memory()
            subscriber = self.start()
            wire = self.network.accept()
            assert self.version(wire) == 4
            if answer:
                wire.bring(answer)
                self.clock.advance(0)
                assert "The broker does not take MQTT 3.1.1; trying MQTT 5" in self.log()
            else:
                self.clock.pump([CONNACK_TIMEOUT, 0])
                assert "The broker gives no answer to MQTT 3.1.1; trying MQTT 5" in self.log()
            self.clock.advance(1)
            wire = self.network.accept()
            assert self.version(wire) == 5
            wire.bring(connack(version="5"))
            self.agree(wire, "5")
            wire.bring(publish("a", b"x", version="5"))
            assert self.intake.payloads[-1] == b"x"
            self.finish(subscriber)

    def test_a_broker_that_takes_neither_version_is_said_so_once(self) -> None:
        """As are the two versions that are tried in turns."""
        self.start()
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60):
            self.network.accept().bring(connack(1))
            self.clock.pump([0, seconds])
        assert sorted(self.log()) == [
            "Cannot use the broker tcp:broker:1883: the broker refuses: Unsupported protocol version;"
            " tessflux keeps trying",
            "The broker does not take MQTT 3.1.1; trying MQTT 5",
            "The broker does not take MQTT 5; trying MQTT 3.1.1",
            "The broker tcp:broker:1883 takes neither MQTT 3.1.1 nor MQTT 5: it must be updated",
        ]

    def test_the_version_that_a_broker_takes_is_remembered_over_a_restart_for_an_hour(self) -> None:
        subscriber = self.start(self.config)
        self.network.accept()
        self.clock.pump([CONNACK_TIMEOUT, 0, 1])
        self.subscribed()
        self.finish(subscriber)
        assert self.memory.versions == {"tcp:broker:1883": ("3.1.1", NOW / 1000 + CONNACK_TIMEOUT)}
        self.clock.advance(600)
        subscriber = self.start(self.config)
        assert self.version(self.network.accept()) == 4
        self.finish(subscriber)
        self.clock.advance(RETRY_CONFIGURED - 600)
        subscriber = self.start(self.config)
        assert self.version(self.network.accept()) == 5
        self.finish(subscriber)

    def test_what_is_remembered_of_another_broker_or_by_a_wrong_clock_does_not_count(self) -> None:
        for broker, version, since in (
            ("tcp:other:1883", "3.1.1", NOW / 1000),
            ("tcp:broker:1883", "3.1.1", NOW / 1000 + 900),
            ("tcp:broker:1883", "3.1.1", 0.0),
            ("tcp:broker:1883", "5", NOW / 1000),
            ("tcp:broker:1883", "6", NOW / 1000),
        ):
            self.memory.versions = {broker: (version, since)}
            subscriber = self.start(self.config)
            assert self.version(self.network.accept()) == 5
            self.finish(subscriber)

    def test_a_stop_while_the_version_is_looked_up_makes_no_connection(self) -> None:
        self.memory = Memory(slow=True)
        subscriber = self.start(self.config)
        stopped = subscriber.stopService()
        self.memory.step()
        self.successResultOf(stopped)
        assert self.network.attempts == []

    def test_under_backpressure_no_answer_is_read_which_says_nothing_about_the_version(self) -> None:
        subscriber = self.start(self.config)
        subscriber.backpressure(True)
        self.network.accept()
        self.clock.pump([CONNACK_TIMEOUT, 0])
        subscriber.backpressure(False)
        self.clock.advance(1)
        assert self.version(self.network.accept()) == 5

    def test_another_refusal_is_no_reason_to_leave_mqtt_5(self) -> None:
        self.start(self.config)
        self.network.accept().bring(connack(0x87, version="5"))
        self.clock.advance(0)
        self.clock.advance(1)
        assert self.version(self.network.accept()) == 5

    def test_our_own_disconnect_is_no_problem_and_no_reason_to_leave_mqtt_5(self) -> None:
        subscriber = self.start(self.config)
        for disconnect in (
            subscriber.redeliver,
            subscriber.redeliver,
            lambda: subscriber.reconfigure(replace(self.config, username="other")),
        ):
            self.network.accept()
            disconnect()
            self.clock.advance(0)
        assert self.version(self.network.accept()) == 5
        self.successResultOf(self.stop(subscriber))
        assert self.log() == []

    def stop(self, subscriber: Subscriber) -> Deferred[None]:
        stopped = subscriber.stopService()
        self.clock.advance(0)
        return stopped

    def test_a_new_config_tries_mqtt_5_again(self) -> None:
        for changed in (replace(self.config, username="other"), replace(self.config, silence=50)):
            subscriber = self.start(self.config)
            self.network.accept().bring(connack(1))
            self.clock.advance(0)
            self.clock.advance(1)
            wire = self.subscribed()
            subscriber.reconfigure(changed)
            wire.close()
            self.clock.advance(0)
            self.clock.advance(2)
            assert self.version(self.network.accept()) == 5
            self.finish(subscriber)


class MessageTest(SubscriberCase):
    def test_a_silent_connection_is_made_anew(self) -> None:
        self.start(replace(CONFIG, silence=20))
        wire = self.subscribed(stuck=True)
        self.clock.pump([WATCH_PERIOD] * 3)
        wire.bring(publish("a", b"still there"))
        self.clock.pump([WATCH_PERIOD] * 3)
        assert not wire.aborted
        self.clock.pump([WATCH_PERIOD, 0])
        assert wire.aborted
        assert self.log() == ["Lost the connection to the broker tcp:broker:1883: no message for 20 s"]
        self.clock.advance(1)
        self.subscribed()

    def test_silence_begins_with_the_acceptance_of_the_broker(self) -> None:
        self.start(replace(CONFIG, silence=10))
        wire = self.network.accept()
        self.clock.advance(CONNACK_TIMEOUT - 1)
        wire.sent()
        wire.bring(connack())
        self.agree(wire)
        self.clock.pump([WATCH_PERIOD, 0])
        assert not wire.closed

    def test_without_a_limit_silence_is_no_reason(self) -> None:
        self.start()
        wire = self.subscribed()
        self.clock.pump([WATCH_PERIOD] * 11)
        assert not wire.closed

    def test_it_listens_while_it_is_connected_and_reads(self) -> None:
        subscriber = self.start()
        said = [subscriber.listening]
        wire = self.subscribed()
        said.append(subscriber.listening)
        for on in True, False:
            subscriber.backpressure(on)
            said.append(subscriber.listening)
        wire.close()
        said.append(subscriber.listening)
        assert said == [False, True, False, True, False]

    def test_under_backpressure_a_broker_is_not_silent(self) -> None:
        subscriber = self.start(replace(CONFIG, silence=20))
        wire = self.subscribed()
        subscriber.backpressure(True)
        assert wire.producerState == "paused"
        self.clock.pump([WATCH_PERIOD] * 6)
        assert not wire.closed
        subscriber.backpressure(False)
        assert wire.producerState == "producing"
        self.clock.pump([WATCH_PERIOD, 0])
        assert not wire.closed

    def test_backpressure_reaches_a_connection_that_is_being_made(self) -> None:
        """Also before it is subscribed: a broker that has a session of ours sends what it kept at once."""
        subscriber = self.start()
        subscriber.backpressure(True)
        wire = self.network.accept()
        assert wire.producerState == "paused"
        wire.bring(connack(session_present=True) + publish("a", b"kept", mid=9))
        assert self.intake.messages == []
        subscriber.backpressure(False)
        assert wire.producerState == "producing"
        self.agree(wire)
        assert self.intake.payloads == [b"kept"]

    def test_while_there_is_no_room_no_connection_is_made(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.backpressure(True)
        wire.close()
        self.clock.pump([BACKPRESSURE_CHECK] * 100)
        assert len(self.network.attempts) == 1
        subscriber.backpressure(False)
        self.clock.advance(BACKPRESSURE_CHECK)
        assert len(self.network.attempts) == 2

    def test_redelivery_is_asked_for_by_a_new_connection(self) -> None:
        subscriber = self.start()
        subscriber.redeliver()
        first = self.subscribed()
        first.bring(publish("a", b"left", mid=9))
        subscriber.redeliver()
        assert [kind for kind, _ in first.sent()] == [DISCONNECT]
        self.clock.advance(0)
        self.clock.advance(1)
        second = self.subscribed()
        second.bring(publish("a", b"left", mid=9))
        assert self.intake.payloads == [b"left", b"left"]

    def test_it_is_logged_once_that_all_messages_come_at_qos_0(self) -> None:
        self.start()
        wire = self.subscribed()
        for messages, lines in ((QOS_NOTICE - 1, 0), (1, 1), (QOS_NOTICE, 1)):
            wire.bring(publish("a", b"x") * messages)
            self.clock.advance(WATCH_PERIOD)
            logged = [line for line in self.log(LogLevel.info) if "All messages come at QoS 0" in line]
            assert len(logged) == lines

    def test_one_message_at_qos_1_ends_the_question_at_which_qos_they_come(self) -> None:
        self.start()
        for messages in (publish("a", b"x", mid=1), publish("a", b"x") * QOS_NOTICE):
            wire = self.subscribed()
            wire.bring(messages)
            self.clock.advance(WATCH_PERIOD)
            wire.close()
            self.clock.advance(2)
        assert "All messages" not in " ".join(self.log(LogLevel.info))


class ReconfigureTest(SubscriberCase):
    def test_only_the_difference_of_the_topics_is_subscribed(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.reconfigure(replace(CONFIG, topics=("b", "c", "d")))
        assert self.agree(wire) == [(SUBSCRIBE, [("c", 1), ("d", 1)]), (UNSUBSCRIBE, [("a", None)])]
        subscriber.reconfigure(replace(CONFIG, topics=("d", "c", "b")))
        assert self.agree(wire) == []
        assert not wire.closed
        wire.close()
        self.clock.advance(1)
        again = self.network.accept()
        again.sent()
        again.bring(connack())
        assert self.agree(again) == [(SUBSCRIBE, [("b", 1), ("c", 1), ("d", 1)])]

    def test_topics_that_change_while_a_subscription_is_under_way_are_subscribed_after_it(self) -> None:
        subscriber = self.start()
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack())
        for topics in (("a", "c"), ("a", "d")):
            subscriber.reconfigure(replace(CONFIG, topics=topics))
        assert self.agree(wire) == [
            (SUBSCRIBE, [("a", 1), ("b", 1)]),
            (SUBSCRIBE, [("d", 1)]),
            (UNSUBSCRIBE, [("b", None)]),
        ]

    def test_topics_that_change_twice_at_once_end_as_they_were_last(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        for topics in (("a", "b", "c"), ("a", "b", "d")):
            subscriber.reconfigure(replace(CONFIG, topics=topics))
        assert self.agree(wire) == [
            (SUBSCRIBE, [("c", 1)]),
            (SUBSCRIBE, [("d", 1)]),
            (UNSUBSCRIBE, [("c", None)]),
        ]

    def test_a_new_topic_that_is_refused_is_logged_and_asked_for_again_on_the_same_connection(self) -> None:
        config = replace(CONFIG, keepalive=3600)
        subscriber = self.start(config)
        wire = self.subscribed()
        subscriber.reconfigure(replace(config, topics=("a", "b", "c")))
        [(_, body)] = wire.sent()
        wire.bring(suback(mid_of(body), 0x80))
        assert "The broker refuses {'c': 'Unspecified error'}; the others go on" in self.log()[0]
        self.clock.pump([WATCH_PERIOD] * int(RETRY_REFUSED / WATCH_PERIOD - 1))
        assert wire.sent() == []
        self.clock.pump([WATCH_PERIOD])
        assert self.agree(wire) == [(SUBSCRIBE, [("c", 1)])]
        assert self.log(LogLevel.info)[-1] == "Subscribed to ['c']"
        assert not wire.closed

    def test_under_backpressure_new_topics_wait_since_no_answer_would_be_read(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.backpressure(True)
        subscriber.reconfigure(replace(CONFIG, topics=("a", "b", "c")))
        self.clock.pump([WATCH_PERIOD] * 6)
        assert wire.sent() == []
        subscriber.backpressure(False)
        assert self.agree(wire) == [(SUBSCRIBE, [("c", 1)])]

    def test_backpressure_does_not_wait_for_the_answer_of_the_broker(self) -> None:
        """The answer may stand behind any number of messages."""
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.reconfigure(replace(CONFIG, topics=("a", "b", "c")))
        subscriber.backpressure(True)
        assert wire.producerState == "paused"
        subscriber.backpressure(False)
        assert self.agree(wire) == [(SUBSCRIBE, [("c", 1)])]
        assert not wire.closed

    def test_a_topic_that_left_the_config_while_tessflux_was_down_is_unsubscribed(self) -> None:
        self.memory.kept["me"] = frozenset({"a", "b", "old"})
        self.start()
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack(session_present=True))
        assert self.agree(wire) == [(SUBSCRIBE, [("a", 1), ("b", 1)]), (UNSUBSCRIBE, [("old", None)])]

    def test_a_topic_that_leaves_together_with_the_login_is_unsubscribed(self) -> None:
        subscriber = self.start()
        self.subscribed()
        subscriber.reconfigure(replace(CONFIG, username="other", topics=("a",)))
        self.clock.advance(0)
        self.clock.advance(1)
        wire = self.network.accept()
        wire.sent()
        wire.bring(connack(session_present=True))
        assert self.agree(wire) == [(SUBSCRIBE, [("a", 1)]), (UNSUBSCRIBE, [("b", None)])]

    def test_a_new_topic_that_is_not_answered_is_tried_again(self) -> None:
        subscriber = self.start()
        wire = self.subscribed(stuck=True)
        subscriber.reconfigure(replace(CONFIG, topics=("a", "b", "c")))
        self.clock.pump([RESPONSE_TIMEOUT, 0])
        assert wire.aborted
        assert self.log() == ["Lost the connection to the broker tcp:broker:1883: no answer within 30 s"]

    def test_another_login_takes_a_new_connection(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.reconfigure(replace(CONFIG, username="new", password=Secret("word")))
        assert [kind for kind, _ in wire.sent()] == [DISCONNECT]
        self.clock.advance(0)
        self.clock.advance(1)
        [(kind, body)] = self.network.accept().sent()
        assert (kind, body[-9 - 2 :]) == (CONNECT, text("new") + text("word"))
        # It was not lost.
        assert self.log() == []

    def test_another_broker_is_tried_at_once_instead_of_a_wait(self) -> None:
        subscriber = self.start()
        for attempt in range(5):
            self.network.refuse()
            self.clock.advance(2**attempt)
        self.network.refuse()
        now = self.clock.seconds()
        subscriber.reconfigure(replace(CONFIG, broker=BrokerAddress("tcp", "other", 1883, "")))
        assert self.network.attempts[-1] == (now, "tcp:other:1883")
        self.network.refuse()
        self.clock.advance(1)
        assert self.network.attempts[-1] == (now + 1, "tcp:other:1883")

    def test_after_a_reload_while_there_is_no_room_a_failure_is_followed_by_a_wait(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        subscriber.backpressure(True)
        wire.close()
        self.clock.advance(1)
        subscriber.reconfigure(replace(CONFIG, username="other"))
        subscriber.backpressure(False)
        self.clock.advance(BACKPRESSURE_CHECK)
        before = len(self.network.attempts)
        self.network.refuse()
        assert len(self.network.attempts) == before

    def test_after_a_reload_the_same_problem_is_logged_again(self) -> None:
        subscriber = self.start()
        self.network.refuse()
        subscriber.reconfigure(replace(CONFIG, username="other"))
        self.network.refuse()
        assert len(self.log(LogLevel.error)) == 2

    def test_another_broker_breaks_off_an_attempt_and_that_is_no_error(self) -> None:
        subscriber = self.start()
        for attempt in range(5):
            self.network.refuse()
            self.clock.advance(2**attempt)
        now = self.clock.seconds()
        before = self.log()
        subscriber.reconfigure(replace(CONFIG, broker=BrokerAddress("tcp", "other", 1883, "")))
        assert self.network.attempts[-1] == (now, "tcp:other:1883")
        assert self.log() == before
        self.subscribed()

    def test_what_is_no_part_of_the_connection_changes_without_a_new_one(self) -> None:
        """Such as a log level; topics are subscribed on the connection that is there."""
        subscriber = self.start()
        wire = self.subscribed()
        for name, value in WITHOUT_RECONNECT.items():
            subscriber.reconfigure(replace(CONFIG, **{name: value}))
            kinds = {kind for kind, _ in self.agree(wire)}
            assert kinds == CHANGES.get(name, set()), name
            subscriber.reconfigure(CONFIG)
            self.agree(wire)
        assert len(self.network.attempts) == 1
        assert not wire.closed

    def test_everything_else_in_the_config_takes_a_new_connection(self) -> None:
        """A field that is added later too, unless somebody decides otherwise."""
        for field in fields(MqttConfig):
            if field.name not in WITHOUT_RECONNECT:
                subscriber = self.start()
                wire = self.subscribed()
                another: dict[str, Any] = {field.name: object()}
                subscriber.reconfigure(replace(CONFIG, **another))
                assert [kind for kind, _ in wire.sent()] == [DISCONNECT], field.name
                self.finish(subscriber)

    def test_another_limit_for_silence_holds_at_once(self) -> None:
        subscriber = self.start()
        self.subscribed()
        subscriber.reconfigure(replace(CONFIG, silence=50))
        self.clock.pump([WATCH_PERIOD] * 10 + [0])
        assert "no message for 50 s" in self.log()[0]


class StopTest(SubscriberCase):
    def stop(self, subscriber: Subscriber) -> Deferred[None]:
        lines = len(self.log())
        stopped = subscriber.stopService()
        self.clock.advance(0)
        assert len(self.log()) == lines
        return stopped

    def test_while_connecting(self) -> None:
        subscriber = self.start()
        self.successResultOf(self.stop(subscriber))
        assert not self.network.connecting

    def test_while_the_broker_has_not_answered(self) -> None:
        for version in ("3.1.1", "5"):
            subscriber = self.start(replace(CONFIG, version=version))
            wire = self.network.accept()
            self.successResultOf(self.stop(subscriber))
            assert [kind for kind, _ in wire.sent()] == [CONNECT, DISCONNECT]

    def test_while_subscribing(self) -> None:
        subscriber = self.start()
        wire = self.network.accept()
        wire.bring(connack())
        self.successResultOf(self.stop(subscriber))
        assert [kind for kind, _ in wire.sent()] == [CONNECT, SUBSCRIBE, DISCONNECT]

    def test_while_subscribed(self) -> None:
        subscriber = self.start()
        wire = self.subscribed()
        self.successResultOf(self.stop(subscriber))
        assert wire.sent() == [(DISCONNECT, b"")]

    def test_while_other_topics_are_subscribed(self) -> None:
        subscriber = self.start()
        self.subscribed()
        subscriber.reconfigure(replace(CONFIG, topics=("a", "c")))
        self.successResultOf(self.stop(subscriber))

    def test_while_it_backs_off(self) -> None:
        subscriber = self.start()
        self.network.refuse()
        self.successResultOf(self.stop(subscriber))
        self.clock.advance(100)
        assert self.times() == [0]

    def test_with_a_broker_that_does_not_close(self) -> None:
        subscriber = self.start()
        wire = self.subscribed(stuck=True)
        stopped = self.stop(subscriber)
        self.assertNoResult(stopped)
        self.clock.pump([CLOSE_TIMEOUT, 0])
        self.successResultOf(stopped)
        assert wire.aborted

    def test_while_a_connection_is_given_up(self) -> None:
        subscriber = self.start()
        self.network.accept().bring(connack(5) + packet(0))
        self.successResultOf(self.stop(subscriber))

    def test_it_can_start_again(self) -> None:
        subscriber = self.start()
        self.subscribed()
        self.successResultOf(self.stop(subscriber))
        subscriber.startService()
        self.subscribed()
