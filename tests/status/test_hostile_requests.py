"""Whatever is sent to the site, it answers safely or not at all, and nothing is logged."""

from itertools import islice

from tests.status.hostile_requests import Checker, Requests


def test_3_000_hostile_requests_are_answered_safely() -> None:
    checker = Checker(20261127)
    for pieces in islice(Requests(20261127), 3_000):
        checker.take(pieces)
    checker.close()
    assert checker.ended.total() == 3_000
    # Were they too mild or too wild, they would test nothing.
    assert min(checker.ended[code] for code in ("200", "400", "403", "404", "405", "413", "none")) > 20
