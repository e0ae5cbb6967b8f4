"""While a full batch is delivered the next one is posted too.

They are retired in their order, and what may have been lost meanwhile is posted once more.
"""

from dataclasses import replace

from tessflux.influx.verdict import BadLines, Delivered, Unreachable, Verdict
from tessflux.influx.writer import Writer
from tessflux.limits import BATCH_LINES
from tests.influx.site import CONFIG, DOWN, Case

TAKEN, KILLED = Delivered(), Unreachable("the connection broke", False, True, cut_off=True)


class BesideTest(Case):
    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self) -> None:
        self.queue.gives_following = True
        self.writer: Writer = self.start()
        self.batches = [[f"r a={number} 1"] * BATCH_LINES for number in range(4)]
        self.queue.add(*(line for batch in self.batches for line in batch))
        self.writer.wake()

    def under_way(self) -> list[int]:
        """Which batches have a request."""
        requests = [each.requests[-1] for each in self.databases if each.waiting]
        return sorted(self.batches.index(lines) for lines in requests if lines)

    def answer_to(self, number: int, verdict: Verdict = TAKEN) -> None:
        """Answer the request that has this batch."""
        [database] = [
            each for each in self.databases if each.waiting and each.requests[-1] == self.batches[number]
        ]
        database.reply(verdict)

    def retired(self) -> int:
        return self.queue.retired // BATCH_LINES

    def test_two_are_under_way_and_no_more_and_each_is_posted_once(self) -> None:
        assert self.under_way() == [0, 1]
        self.answer_to(1)
        assert (self.under_way(), self.retired()) == ([0], 0)
        self.answer_to(0)
        assert (self.under_way(), self.retired()) == ([2, 3], 2)
        self.answer_to(2)
        assert (self.under_way(), self.retired()) == ([3], 3)
        self.answer_to(3)
        assert (self.under_way(), self.queue.lines) == ([], [])
        assert len(self.requests) == 4
        assert (self.stats.delivered, self.stats.requested, self.stats.ok) == (4 * BATCH_LINES, 5, 5)

    def test_what_was_not_taken_beside_another_is_posted_in_its_turn(self) -> None:
        for verdict in (DOWN, BadLines("400", dropped=0)):
            with self.subTest(verdict):
                self.fresh()
                self.begin()
                self.answer_to(1, verdict)
                self.answer_to(0)
                assert (self.under_way(), self.retired()) == ([1, 2], 1)
                self.answer_to(1)
                assert self.retired() == 2

    def test_what_a_server_took_before_it_was_killed_is_posted_again(self) -> None:
        self.answer_to(1)
        self.answer_to(0, KILLED)
        self.clock.advance(1)
        assert self.under_way() == [0]
        self.answer_to(0)
        assert (self.under_way(), self.retired()) == ([1, 2], 1)
        self.answer_to(1)
        assert self.retired() == 2

    def test_that_a_server_was_killed_is_noticed_beside_another_request_too(self) -> None:
        self.answer_to(1, KILLED)
        assert self.queue.rewound == 0
        self.answer_to(0)
        assert self.queue.rewound == 1

    def test_what_another_server_took_is_posted_again(self) -> None:
        self.answer_to(1)
        self.writer.reconfigure(replace(CONFIG, url="http://other:8086"))
        self.answer_to(0)
        self.database.reply(Delivered())
        assert self.retired() == 1
        assert 1 in self.under_way()

    def test_a_stop_cancels_both(self) -> None:
        self.successResultOf(self.writer.stopService())
        assert sum(each.cancelled for each in self.databases) == 2
        assert self.retired() == 0

    def test_with_several_urls_there_is_one_at_a_time(self) -> None:
        self.successResultOf(self.writer.stopService())
        self.fresh()
        self.queue.gives_following = True
        writer = self.start(replace(CONFIG, url="http://a:8086,http://b:8086"))
        self.queue.add(*(line for batch in self.batches for line in batch))
        writer.wake()
        assert self.under_way() == [0]
