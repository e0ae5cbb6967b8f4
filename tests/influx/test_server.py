"""What is done about a verdict on the server: when it is asked again, and what is logged about it."""

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel

from tessflux.config import Secret
from tessflux.errors import ServerError
from tessflux.influx.definition import Ran
from tessflux.influx.server import FAILURES, LONGEST_RETRY_AFTER, PARK_SECONDS, PROBLEM_LINES, PROBLEM_PERIOD
from tessflux.influx.verdict import BadLines, Busy, Delivered, Missing, TooLarge, Unauthorised
from tessflux.influx.writer import PACE
from tests.influx.site import CONFIG, DOWN, FAILING, Case

MISSING = Missing('404 database not found: "tessdb"')
UNAUTHORISED = Unauthorised("401 authorization failed")
WITH_FILE = replace(CONFIG, schema="/etc/schema")


class RetryTest(Case):
    def test_the_same_lines_are_posted_until_the_server_answers_for_them(self) -> None:
        for name, verdict in FAILING.items():
            with self.subTest(name):
                self.fresh()
                writer = self.start()
                lines = self.add(writer, 1, 2, 3)
                for _ in range(FAILURES - 1):
                    self.reply(verdict)
                    self.add(writer, 4)
                    self.clock.advance(LONGEST_RETRY_AFTER)
                assert self.database.requests == [[], *([lines] * FAILURES)]
                assert self.queue.lines[:3] == lines

    def test_the_back_off_grows_and_begins_anew_after_an_answer(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        for wait in (1, 2, 4, 8, 16, 32, 60, 60):
            self.reply(DOWN)
            self.assert_waits(wait)
        self.reply(Delivered())
        self.add(writer, 1, 2, 3)
        self.reply(DOWN)
        self.assert_waits(1)
        assert (self.stats.requested, self.stats.ok, self.stats.failed) == (12, 2, 9)

    def test_a_request_without_lines_that_is_refused_is_repeated_after_a_back_off(self) -> None:
        for verdict in (BadLines("400 Bad Request"), TooLarge("413")):
            with self.subTest(verdict):
                self.fresh()
                self.start(known=False)
                for wait in (1, 2, 4):
                    self.reply(verdict)
                    self.assert_waits(wait)
                [logged] = self.log(LogLevel.error)
                assert verdict.reason in logged

    def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(self) -> None:
        longest = LONGEST_RETRY_AFTER
        for asked, wait in ((7.0, 7.0), (longest * 1_000, longest), (0.0, 1.0), (None, 1.0)):
            with self.subTest(asked):
                self.fresh()
                self.add(self.start(), 1, 2, 3)
                self.reply(Busy("503", asked))
                self.assert_waits(wait)


class StateTest(Case):
    """What others may see of it."""

    def test_a_problem_is_there_in_words_from_its_beginning_to_its_end(self) -> None:
        writer = self.start(known=False)
        server = writer._server
        assert (server.takes_lines, server.problem, server.since) == (False, "", self.clock.seconds())
        self.reply(DOWN, after=60)
        began = self.clock.seconds() - 60
        self.reply(DOWN, Busy("503 timeout"), after=60)
        assert (server.takes_lines, server.problem) == (False, "503 timeout (it is busy)")
        assert server.since == began
        self.reply(Delivered())
        assert (server.takes_lines, server.problem, server.since) == (True, "", self.clock.seconds())
        self.clock.advance(60)
        self.add(writer, 1, 2, 3)
        self.reply(Delivered())
        assert server.since == self.clock.seconds() - 60
        assert self.stats.last_delivered == self.clock.seconds()


class LogTest(Case):
    """A problem is logged when it begins or changes, and every ten minutes; so is its end, once."""

    DOWN = (
        "InfluxDB at http://db:8086 takes no readings: connection refused"
        " (is it running, and is the url right?); they wait in the spool"
    )
    BUSY = "InfluxDB at http://db:8086 takes no readings: 503 timeout (it is busy); they wait in the spool"
    WELL = "InfluxDB at http://db:8086 takes readings into tessdb"

    def test_a_problem_is_logged_when_it_begins_and_when_it_changes_and_so_is_its_end(self) -> None:
        writer = self.start()
        self.add(writer, 1, 2, 3)
        self.reply(DOWN, DOWN, Busy("503 timeout"), Busy("503 timeout"), Delivered(), after=60)
        self.add(writer, 1, 2, 3)
        self.reply(DOWN)
        assert self.log(LogLevel.info, LogLevel.error) == [
            self.WELL,
            self.DOWN,
            self.BUSY,
            self.WELL,
            self.DOWN,
        ]

    def test_a_problem_that_lasts_is_logged_again_every_ten_minutes(self) -> None:
        self.add(self.start(), 1, 2, 3)
        for minutes in range(30):
            assert len(self.log(LogLevel.error)) == -(-minutes // 10)
            self.reply(DOWN, after=60)
        self.reply(Delivered())
        assert self.log(LogLevel.info) == [self.WELL] * 2

    def test_a_server_that_comes_and_goes_does_not_fill_the_log(self) -> None:
        writer = self.start()
        for _ in range(100):
            self.add(writer, 1, 2, 3)
            self.reply(Busy("503 request throttled"))
            self.clock.advance(1)
            self.reply(Delivered())
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES
        assert self.log(LogLevel.info) == [self.WELL] * (1 + PROBLEM_LINES)

    def test_a_server_that_goes_for_good_after_it_came_and_went_is_logged_in_the_next_period(self) -> None:
        writer = self.start()
        for _ in range(PROBLEM_LINES + 1):
            self.add(writer, 1, 2, 3)
            self.reply(Delivered(), after=PACE)
            self.add(writer, 1, 2, 3)
            self.reply(DOWN, after=1)
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES
        while self.clock.seconds() < PROBLEM_PERIOD:
            self.reply(DOWN, after=60)
        self.reply(DOWN, DOWN, after=60)
        assert len(self.log(LogLevel.error)) == PROBLEM_LINES + 1


class ParkTest(Case):
    """Something needs the operator: it is logged once, and another attempt follows in a while."""

    def test_what_is_missing_is_created_and_the_lines_follow_at_once(self) -> None:
        lines = self.add(self.start(WITH_FILE), 1, 2, 3)
        self.reply(DOWN, DOWN, DOWN, after=60)
        self.reply(MISSING)
        assert self.defined == ["/etc/schema"]
        assert self.requests == [lines] * 5
        self.reply(Delivered())
        assert self.queue.lines == []
        assert len(self.log(LogLevel.error)) == 1

    def test_without_a_file_or_with_one_that_does_not_help_it_parks(self) -> None:
        for config, ran, defined, text in (
            (CONFIG, Ran(), 0, '"tessdb" (create it, or name a data definition file in [influxdb] schema)'),
            (
                WITH_FILE,
                Ran(problem="statement 1: wrong"),
                3,
                "/etc/schema: statement 1: wrong (mend the",
            ),
            (WITH_FILE, OSError("no such file"), 3, "/etc/schema: no such file (mend the file"),
        ):
            with self.subTest(text):
                self.fresh()
                self.add(self.start(config), 1, 2, 3)
                self.ran = ran
                for _ in range(3):
                    self.reply(MISSING)
                    self.assert_waits(PARK_SECONDS)
                [logged] = self.log(LogLevel.error)
                assert text in logged
                assert len(self.defined) == defined

    def test_a_file_that_does_not_create_what_is_missing_is_run_again_and_logged_as_run_once(self) -> None:
        self.add(self.start(WITH_FILE), 1, 2, 3)
        self.reply(MISSING)
        for number in range(2, 5):
            self.reply(MISSING)
            self.assert_waits(PARK_SECONDS)
            assert len(self.defined) == number
        [logged] = self.log(LogLevel.error)
        assert '"tessdb" (/etc/schema does not create it)' in logged
        assert [text for text in self.log(LogLevel.info) if "Ran" in text] == [
            "Ran the data definition file /etc/schema"
        ]

    def test_the_statements_that_are_never_run_are_logged_while_that_is_news(self) -> None:
        self.add(self.start(WITH_FILE), 1, 2, 3)
        self.ran = Ran(left_out=("statement 2: it destroys", "statement 4: so does it"))
        self.reply(MISSING, MISSING, MISSING, after=PARK_SECONDS)
        assert len(self.defined) == 3
        [logged] = self.log(LogLevel.warn)
        assert logged == (
            "/etc/schema is not run as it stands: statement 2: it destroys; statement 4: so does it"
        )
        self.reply(Delivered())
        assert self.queue.lines == []

    def test_a_file_that_was_mended_is_run_and_the_lines_follow_at_once(self) -> None:
        lines = self.add(self.start(WITH_FILE), 1, 2, 3)
        self.ran = Ran(problem="statement 1: wrong")
        self.reply(MISSING)
        self.ran = Ran()
        self.clock.advance(PARK_SECONDS)
        self.reply(MISSING)
        assert self.requests == [lines] * 3
        assert len(self.log(LogLevel.error)) == 1

    def test_a_server_that_is_lost_while_the_file_runs_is_backed_off_from(self) -> None:
        self.add(self.start(WITH_FILE), 1, 2, 3)
        self.ran = ServerError("no connection")
        self.reply(MISSING)
        self.assert_waits(1)
        [logged] = self.log(LogLevel.error)
        assert "no connection (is it running, and is the url right?)" in logged

    def test_after_a_wrong_login_the_secret_is_read_again(self) -> None:
        lines = self.add(self.start(replace(CONFIG, username="u", password=Secret("old", "/file"))), 1, 2, 3)
        for _ in range(2):
            self.reply(UNAUTHORISED)
            self.assert_waits(PARK_SECONDS)
        assert len(self.databases) == 1
        self.secret_on_disk = Secret("new", "/file")
        # To these lines, and to another.
        self.reply(UNAUTHORISED, UNAUTHORISED)
        self.clock.advance(PARK_SECONDS)
        assert self.database.config.password == Secret("new", "/file")
        assert self.database.requests == [lines]
        self.reply(UNAUTHORISED, UNAUTHORISED)
        self.clock.advance(PARK_SECONDS)
        [logged] = self.log(LogLevel.error)
        assert "check username, password and the user's rights" in logged
        self.reply(Delivered())
        assert (self.queue.lines, self.stats.rejected) == ([], 6)

    def test_a_secret_that_was_read_while_the_config_changed_undoes_no_change(self) -> None:
        for config, expected in (
            (replace(CONFIG, dbname="other"), replace(CONFIG, dbname="other")),
            (replace(CONFIG, stats=False), replace(CONFIG, stats=False, password=Secret("new"))),
        ):
            with self.subTest(config):
                self.fresh()
                reading: Deferred[Secret] = Deferred()
                self.secret_on_disk = reading
                writer = self.start()
                self.add(writer, 1, 2, 3)
                self.reply(UNAUTHORISED, after=PARK_SECONDS)
                writer.reconfigure(config)
                reading.callback(Secret("new"))
                assert self.database.config == expected
                assert len(self.database.waiting) == 1
