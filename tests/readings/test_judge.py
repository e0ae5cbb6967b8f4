"""A message gets the outcome that it deserves, whatever it holds."""

from collections.abc import Iterable

import msgspec
import pytest
from paho.mqtt.client import topic_matches_sub

from tessflux.readings import Admission, Filtered, Judge, Message, Outcome, Places, Quarantined, Stored
from tessflux.readings.judge import SKEW_MS
from tessflux.readings.outcome import Remark
from tests.readings.payloads import Case, cases
from tests.readings.samples import NOW, REGISTER, TOPIC, message, payload

SUBSCRIBED = "STARS4ALL/#"


class Judging:
    """A judge, as the config has it unless told otherwise."""

    def __init__(
        self,
        *,
        whitelist: Iterable[str] = (),
        blacklist: Iterable[str] = (),
        measurement: str = "readings",
        extra_fields: tuple[str, ...] = (),
        validation: bool = True,
        registers: bool = False,
        places: Places | None = None,
    ) -> None:
        admission = Admission()
        admission.choose(frozenset(whitelist), frozenset(blacklist))
        self._judge = Judge(admission)
        self._judge.configure(
            measurement=measurement,
            extra_fields=extra_fields,
            validation=validation,
            registers=registers,
            places=places or {},
        )

    def judge(self, message: Message, *, requeued: bool = False) -> Outcome:
        return self._judge.judge(message, self._judge.admission.admit_requeued if requeued else None)

    def line(self, message: Message) -> str:
        """The line of a message that must be stored."""
        outcome = self.judge(message)
        assert isinstance(outcome, Stored), outcome
        return outcome.line


# The project's own payloads

CASES = {case.id: case for case in cases()}
BURSTS = {case.burst for case in CASES.values() if case.burst}
EXPECTED = {Stored: "accept", Filtered: "filter", Quarantined: "reject"}


def verdict(judging: Judging, case: Case) -> str:
    """What becomes of a case's message; the broker keeps back what nobody subscribed to."""
    if not topic_matches_sub(SUBSCRIBED, case.topic):
        return "filter"
    received_at = NOW if case.now is None else case.now
    outcome = judging.judge(Message(case.topic, case.payload, case.retain, received_at))
    if case.norm_name:
        assert isinstance(outcome, Stored)
        assert outcome.line.startswith(f"readings,name={case.norm_name} ")
    return EXPECTED[type(outcome)]


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.id)
def test_every_payload_has_the_outcome_that_it_deserves(case: Case) -> None:
    judging = Judging(whitelist=case.whitelist, blacklist=case.blacklist)
    if case.after:
        assert verdict(judging, CASES[case.after]) == CASES[case.after].expect
    assert verdict(judging, case) == case.expect, case.why


@pytest.mark.parametrize("burst", sorted(BURSTS))
def test_a_burst_of_readings_is_stored_under_different_times(burst: str) -> None:
    judging = Judging()
    together = [case for case in CASES.values() if case.burst == burst]
    times = {judging.line(message(case.payload, case.topic)).rsplit(" ", 1)[1] for case in together}
    assert len(times) == len(together) > 1


def test_all_the_payloads_have_names_of_their_own_and_every_outcome_occurs() -> None:
    assert len(CASES) == len(cases())
    assert {case.expect for case in CASES.values()} == {"accept", "filter", "reject"}


# What is stored


def test_a_line_escapes_what_a_name_and_a_measurement_hold() -> None:
    judging = Judging(measurement="my readings")
    line = judging.line(message(payload(7, "a,b c=d")))
    assert line.startswith(r"my\ readings,name=a\,b\ c\=d seq=7.0,")


def test_a_reading_becomes_a_line_with_its_identity() -> None:
    outcome = Judging().judge(message(payload(7)))
    assert isinstance(outcome, Stored)
    assert outcome.line == f"readings,name=stars1 seq=7.0,mag=21.19,freq=0.5 {NOW}"
    assert (outcome.admitted.name, outcome.admitted.time, outcome.remark) == ("stars1", NOW, None)


def test_extra_fields_are_stored_and_anything_is_plausible_where_the_config_says_so() -> None:
    odd = message(payload(7, more=', "mag": 50, "vbat": 3.9'))
    assert isinstance(Judging().judge(odd), Quarantined)
    judging = Judging(validation=False, extra_fields=("vbat",))
    assert "mag=50.0,freq=0.5,vbat=3.9 " in judging.line(odd)


def test_the_payload_says_whose_reading_it_is_not_the_topic() -> None:
    assert ",name=stars9 " in Judging().line(message(payload(7, "stars9"), "STARS4ALL/01/reading"))


# What is filtered


@pytest.mark.parametrize(
    ("taken", "cause"),
    [
        (message(b""), "empty"),
        (message(b"", retained=True), "empty"),
        (message(b"", "STARS4ALL/register"), "empty"),
        (message(payload(1), retained=True), "retained"),
        (message(REGISTER, "STARS4ALL/register"), "register message"),
        (message(REGISTER, "STARS4ALL/register", retained=True), "register message"),
        (message(payload(1), "STARS4ALL/register", retained=True), "retained"),
    ],
)
def test_what_is_no_reading_to_store_is_filtered_by_its_cause(taken: Message, cause: str) -> None:
    outcome = Judging().judge(taken)
    assert isinstance(outcome, Filtered)
    assert outcome.cause == cause


@pytest.mark.parametrize("topic", ["STARS4ALL/register", "STARS4ALL/stars1/status"])
def test_a_reading_on_another_topic_is_stored_and_deserves_a_remark(topic: str) -> None:
    judging = Judging()
    outcome = judging.judge(message(payload(1), topic))
    assert isinstance(outcome, Stored)
    assert outcome.line == f"readings,name=stars1 seq=1.0,mag=21.19,freq=0.5 {NOW}"
    assert outcome.remark == Remark("stars1", "misrouted", f"it publishes its readings on {topic}")
    assert judging.judge(message(payload(1))) == Filtered("duplicate"), "it came the right way as well"


def test_a_misrouted_reading_whose_clock_is_off_has_both_in_its_remark() -> None:
    late = message(payload(1, more=', "tstamp": "2026-03-01T00:01:15"'), "STARS4ALL/register")
    outcome = Judging().judge(late)
    assert isinstance(outcome, Stored)
    detail = "it publishes its readings on STARS4ALL/register; its time is off by +61 s"
    assert outcome.remark == Remark("stars1", "misrouted", detail)


@pytest.mark.parametrize("topic", ["STARS4ALL/stars1/myregister", "STARS4ALL/register/reading", "register/x"])
def test_only_the_last_level_of_a_topic_tells_of_another_kind(topic: str) -> None:
    judging = Judging()
    outcome = judging.judge(message(payload(1), topic))
    assert isinstance(outcome, Stored)
    assert outcome.remark is None
    assert isinstance(judging.judge(message(REGISTER, topic)), Quarantined)


# Boots

REGISTER_TOPIC = "STARS4ALL/register"
BY_DAY = [message(payload(seq, more=', "tamb": 0.0, "tsky": 0.0')) for seq in (2, 3, 4)]
"""What a photometer without a thermometer publishes by day after every boot."""


def test_what_a_photometer_publishes_after_a_register_message_is_new() -> None:
    judging = Judging()
    taken = []
    for _ in range(3):
        judging.judge(message(REGISTER, REGISTER_TOPIC))
        taken += [judging.line(each) for each in BY_DAY]
    assert len(set(taken)) == 9


def redelivered(message: Message) -> Message:
    return msgspec.structs.replace(message, mid=7)


@pytest.mark.parametrize(
    ("register", "requeued"),
    [
        (message(REGISTER, REGISTER_TOPIC, retained=True), False),
        (message(REGISTER, REGISTER_TOPIC), True),
        (redelivered(message(REGISTER, REGISTER_TOPIC)), False),
        (message(REGISTER, TOPIC), False),
        (message(REGISTER, "STARS4ALL/stars1/status"), False),
    ],
)
def test_a_register_message_from_elsewhere_tells_of_no_boot(register: Message, requeued: bool) -> None:
    judging = Judging()
    for each in BY_DAY:
        judging.line(each)
    judging.judge(register, requeued=requeued)
    assert judging.judge(BY_DAY[0]) == Filtered("duplicate")


def test_a_reading_that_is_delivered_again_after_a_register_message_is_a_duplicate() -> None:
    judging = Judging()
    for each in BY_DAY:
        judging.line(redelivered(each))
    judging.judge(message(REGISTER, REGISTER_TOPIC))
    assert [judging.judge(redelivered(each)) for each in BY_DAY] == [Filtered("duplicate")] * 3


# What is refused


@pytest.mark.parametrize(
    ("taken", "name", "cause"),
    [
        (message(b"\xff\x00"), "", "not JSON"),
        (message(b"x" * 65_537), "", "too long"),
        (message(b'{"seq": 1}'), "", "bad name"),
        (message(payload(1, more=', "mag": true')), "stars1", "not a number"),
        (message(payload(1, more=', "mag": 50')), "stars1", "implausible"),
        (message(payload(1, more=', "tstamp": "noon"')), "stars1", "bad time"),
        (message(payload(1, more=', "tstamp": "1970-01-01T00:00:05"')), "stars1", "bad time"),
        (message(REGISTER), "stars1", "register message"),
        (message(REGISTER, "STARS4ALL/stars1/status"), "stars1", "register message"),
        (message(b'{"mac": 1}', "STARS4ALL/register"), "", "bad name"),
        (message(b"{", "STARS4ALL/stars1/status", retained=True), "", "not JSON"),
    ],
)
def test_what_is_refused_is_kept_as_it_came_with_a_remark(taken: Message, name: str, cause: str) -> None:
    outcome = Judging().judge(taken)
    assert isinstance(outcome, Quarantined)
    assert outcome == Quarantined(
        NOW, taken.topic, name, cause, outcome.detail, taken.payload[:65_536], taken.retained
    )
    assert outcome.detail
    assert outcome.remark == Remark(name or taken.topic, cause, outcome.detail)


@pytest.mark.parametrize(("tstamp", "off"), [("2026-03-01T00:01:15", "+61"), ("2026-02-28T23:59:13", "-61")])
def test_a_publishers_clock_that_is_off_deserves_a_remark_and_its_time_is_kept(tstamp: str, off: str) -> None:
    outcome = Judging().judge(message(payload(1, more=f', "tstamp": "{tstamp}"')))
    assert isinstance(outcome, Stored)
    assert outcome.admitted.time == NOW + int(off) * 1_000
    assert outcome.line.endswith(f" {outcome.admitted.time}")
    assert outcome.remark == Remark("stars1", "clock", f"its time is off by {off} s")


@pytest.mark.parametrize("at", [NOW - SKEW_MS, NOW, NOW + SKEW_MS])
def test_a_publishers_clock_that_is_nearly_right_deserves_none(at: int) -> None:
    outcome = Judging().judge(message(payload(1, more=', "tstamp": "2026-03-01T00:00:14"'), received_at=at))
    assert isinstance(outcome, Stored)
    assert outcome.remark is None


@pytest.mark.parametrize("retained", [False, True])
def test_a_reading_that_waited_at_the_broker_has_the_time_of_its_publication_and_deserves_no_remark(
    retained: bool,
) -> None:
    night = NOW - 10 * 3_600_000
    judging = Judging()
    outcome = judging.judge(message(payload(1), sent_at=night, retained=retained))
    assert isinstance(outcome, Stored)
    assert outcome.line == f"readings,name=stars1 seq=1.0,mag=21.19,freq=0.5 {night}"
    assert outcome.remark is None
    assert judging.judge(message(payload(1))) == Filtered("duplicate")


def test_a_publishers_time_is_better_than_that_of_its_broker() -> None:
    taken = message(payload(1, more=', "tstamp": "2026-03-01T00:00:15"'), sent_at=NOW)
    assert Judging().line(taken).endswith(f" {NOW + 1_000}")
