"""From when to when readings are wanted, in the words of a command line. Pure.

A date alone is a whole day, at both ends of a period. A time without a zone is in UTC.
"""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tessflux.archive.source import BEGINNING, END
from tessflux.config import Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_DAY = timedelta(days=1)


class Period(NamedTuple):
    """From `start` to before `end`, in ms since 1970 UTC."""

    start: int
    end: int


EVER = Period(BEGINNING, END)


def begin(text: str) -> int:
    """When a period begins, from an ISO 8601 date or time. Raises ValueError."""
    return _ms(_time(text, timedelta(0)))


def end(text: str) -> int:
    """When it ends: not before the date is over, if it is one. Raises ValueError."""
    return _ms(_time(text, _ONE_DAY))


def month(text: str) -> Period:
    """A month of UTC, from YYYY-MM. Raises ValueError."""
    try:
        first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        return Period(_ms(first), _ms((first + 31 * _ONE_DAY).replace(day=1)))
    except (ValueError, OverflowError):
        raise ValueError("must be a month, such as 2026-10") from None


def evening(text: str) -> date:
    """The day on which a night begins, from YYYY-MM-DD. Raises ValueError."""
    with suppress(ValueError):
        day = date.fromisoformat(text)
        # The last day of all has no noon after it.
        if day < date.max:
            return day
    raise ValueError("must be the day on which the night begins, such as 2026-10-31")


def night(evening: date, zone: tzinfo) -> Period:
    """From noon to noon in that zone."""
    noon = datetime(evening.year, evening.month, evening.day, 12)
    return Period(*(_ms((noon + days * _ONE_DAY).replace(tzinfo=zone)) for days in (0, 1)))


def zone_of(place: Place | None) -> tzinfo:
    """What noon is for a photometer: that of its time zone, or else of its longitude; 12:00 UTC where neither
    is known."""
    if place is None:
        return UTC
    if place.zone == "UTC":
        return timezone(timedelta(hours=round(place.longitude / 15)))
    return ZoneInfo(place.zone)


def iso(moment: int) -> str:
    """A time in ms since 1970 as ISO 8601 has it: 2026-10-31T21:40:00.000Z."""
    return f"{clock_time(moment, UTC)}Z"


def clock_time(moment: int, zone: tzinfo) -> str:
    """What clocks in that zone show: 2026-10-31T22:40:00.000."""
    seconds, ms = divmod(moment, 1000)
    return f"{datetime.fromtimestamp(seconds, zone).isoformat()[:19]}.{ms:03d}"


def _time(text: str, rest_of_day: timedelta) -> datetime:
    try:
        try:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC) + rest_of_day
        except ValueError:
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a date, or a time such as 2026-10-31T20:00:00+01:00") from None


def _ms(moment: datetime) -> int:
    """Within what databases have."""
    return min(max((moment - _EPOCH) // timedelta(milliseconds=1), BEGINNING), END)
