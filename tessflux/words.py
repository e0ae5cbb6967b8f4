"""Numbers, sizes, durations and dates as people read them. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES = ((2**30, "GB"), (2**20, "MB"), (2**10, "kB"))


def duration(seconds: float) -> str:
    """The two largest units: `2 h 5 min`."""
    left = round(max(0.0, seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or "0 s"


def ago(when: float, now: float) -> str:
    """`5 s ago`."""
    return f"{duration(now - when)} ago"


def date(when: float) -> str:
    """`2026-03-01 21:40 UTC`, of seconds since 1970."""
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC"


def size(count: int) -> str:
    """`3.2 MB`, `1 GB`."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count} bytes"


def number(count: int) -> str:
    """`12,345`."""
    return f"{count:,}"


def measure(value: float, digits: int) -> str:
    """What a photometer measured, with so many digits after the point. What none can measure is short too:
    `1e+308`."""
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.0e}"


def causes(counts: Mapping[str, int]) -> str:
    """` (retained 3, duplicate 2)`, the most frequent first; "" if there are none."""
    some = sorted(((count, cause) for cause, count in counts.items() if count), reverse=True)
    return f" ({', '.join(f'{cause} {number(count)}' for count, cause in some)})" if some else ""


def brightness(values: Mapping[str, float]) -> str:
    """The magnitude of a reading, or what it says instead of one; "" if it does not have any."""
    found = values.get("mag", values.get("mag1"))
    if found is None:
        return ""
    if found > 0:
        return measure(found, 2)
    return "too bright" if values.get("freq", values.get("freq1", 0.0)) > 0 else "no signal"
