"""What is remembered of the last readings, and how much of it."""

from tessflux.readings.recent import Recent


def test_the_readings_that_came_last_are_known_and_not_many_more() -> None:
    recent = Recent(4)
    for reading in range(40):
        recent.add(reading, -1 - reading)
        known = [number for number in range(reading + 1) if number in recent]
        assert known == list(range(reading + 1))[-len(known) :]
        assert min(4, reading + 1) <= len(known) <= 6
        assert all(-1 - number in recent for number in known)
    recent.discard(39)
    assert 39 not in recent
