"""The page of one photometer: what it measures now, a night from noon to noon, the nights before. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tessflux.pages.chart import CHANNELS, night_picture, small_night, swatch, top_of
from tessflux.pages.frame import clock, href, mark, page, with_sign
from tessflux.pages.html import Html, tag
from tessflux.pages.night import (
    HOUR,
    Night,
    Position,
    below,
    channels,
    darkest,
    moon_in_words,
    skies,
)
from tessflux.pages.selection import SILENT, state
from tessflux.pages.slices import Work
from tessflux.photometers import Mean, Photometer
from tessflux.readings import ZERO_POINTS, Said
from tessflux.sky import Sky, sky
from tessflux.status import Snapshot
from tessflux.words import ago, brightness, measure, number

REFRESH = 60
"""Seconds."""

SMALL_NIGHTS = 7

Means = Sequence[Mean]
NightSkies = Sequence[tuple[float, Sky]]


@dataclass(frozen=True)
class Shown:
    """What to show: the means of the photometer from the noon before the first of the nights; `tonight` is
    the night that is now. `said` is what it says of itself, if it does."""

    photometer: Photometer
    said: Said | None
    place: Position | None
    night: Night
    tonight: Night
    means: Means

    def of(self, night: Night) -> Means:
        """Those of one night."""
        start, end = night.start * 1_000, night.end * 1_000
        return [each for each in self.means if start <= each.start < end]


def small_nights(night: Night, tonight: Night) -> list[Night]:
    """The nights that are shown in small, the oldest first: the last ones, or those around an older night."""
    last = tonight if (tonight.date - night.date).days < SMALL_NIGHTS else night
    return [last.before(back) for back in range(SMALL_NIGHTS - 1, -1, -1)]


def photometer_page(snapshot: Snapshot, shown: Shown) -> Work[bytes]:
    """The page."""
    now, night = snapshot.time, shown.night
    means, night_skies = shown.of(night), skies(night, shown.place)
    top = top_of(shown.means)
    yield
    label = _in_words(shown, means)
    pictures = []
    for width in (960, 340):
        pictures.append(night_picture(night, means, night_skies, now=now, top=top, width=width, label=label))
        yield
    smalls = []
    for each in small_nights(night, shown.tonight):
        smalls.append(_small(shown, each, top))
        yield
    return page(
        f"{shown.photometer.name} – tessflux",
        tag("h1", tag("bdi", shown.photometer.name), " ", mark(state(shown.photometer))),
        _facts(shown, now),
        tag(
            "section",
            _night_heading(shown),
            tag("p", label, class_="lead"),
            tag("figure", pictures, _legend(means, night_skies)),
            _numbers(means, night, shown.place),
        ),
        tag("section", tag("h2", "Nights"), tag("ol", smalls, class_="nights")),
        _troubles(shown.photometer, now),
        now=now,
        version=snapshot.version,
        refresh=REFRESH,
    )


def nobody(snapshot: Snapshot, name: str) -> bytes:
    """The page of a photometer that is not known."""
    return page(
        "Not known – tessflux",
        tag("h1", "No photometer is called ", tag("bdi", name)),
        tag("p", "Nothing was heard of it in the last month. ", tag("a", "All photometers", href="/")),
        now=snapshot.time,
        version=snapshot.version,
        refresh=REFRESH,
    )


def _facts(shown: Shown, now: float) -> Html:
    each, place = shown.photometer, shown.place
    values, at = each.values, int(now * 1_000)
    if "mag1" in values:
        mags = [
            (f"{channel}, mag/arcsec²", measure(values[key], 2))
            for channel, key in zip(CHANNELS, ("mag1", "mag2", "mag3", "mag4"), strict=True)
            if key in values
        ]
    else:
        mags = [("mag/arcsec²", brightness(values) or "–")]
    sky_, box, signal = values.get("tsky"), values.get("tamb"), values.get("wdBm")
    facts = [
        *mags,
        ("last heard", ago(each.heard / 1_000, now)),
        ("sky", "–" if sky_ is None else f"{with_sign(sky_)} °C"),
        ("ambient", "–" if box is None else f"{with_sign(box)} °C"),
        ("signal", f"{with_sign(signal, 0)} dBm" if signal else "–"),
        ("stored, 24 h", number(each.stored.total(at))),
        ("refused, 24 h", number(each.refused.total(at))),
    ]
    if place is not None:
        seen = sky(now, *place)
        facts += [
            ("Sun now", f"{with_sign(seen.sun, 0)}°"),
            ("Moon now", f"{with_sign(seen.moon, 0)}°, {seen.lit:.0%} lit"),
            ("place", _coordinates(place)),
        ]
    facts += _said(shown.said)
    return tag("dl", [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts], class_="facts")


def _said(said: Said | None) -> list[tuple[str, str]]:
    """What it says of itself, in register messages."""
    if said is None:
        return []
    fields = said.decoded
    points = [fields[key] for key in ZERO_POINTS if key in fields]
    texts = [(key, str(fields[key])) for key in ("mac", "model", "firmware") if key in fields]
    zero_points = [("zero point", ", ".join(f"{point:.2f}" for point in points))] if points else []
    return [*texts, *zero_points, ("says so since", _at(said.time / 1_000))]


def _coordinates(place: Position) -> str:
    latitude, longitude = place
    north = f"{abs(latitude):.2f}° {'N' if latitude >= 0 else 'S'}"
    return f"{north}, {abs(longitude):.2f}° {'E' if longitude >= 0 else 'W'}"


def _night_heading(shown: Shown) -> Html:
    night, name = shown.night, shown.photometer.name
    is_tonight = night == shown.tonight
    later = night.before(-1)
    when = f"{'Tonight, ' if is_tonight else 'The night of '}{night.date:%-d %B %Y}"
    return tag(
        "div",
        tag("h2", when),
        tag(
            "nav",
            tag(
                "a",
                "← night before",
                href=href(name, night=night.before(1).date.isoformat()),
                id="night-before",
            ),
            tag("a", "next night →", href=href(name, night=later.date.isoformat()), id="night-next")
            if not is_tonight
            else tag("span", "next night →", class_="off"),
            aria_label="Other nights",
        ),
        class_="heading",
    )


def _in_words(shown: Shown, means: Means) -> str:
    """The night in a sentence or three."""
    night, place = shown.night, shown.place
    found = darkest(means)
    is_tonight = night == shown.tonight
    sentences = []
    if not means:
        # Beside it is how many readings were stored: some, from the first minute on.
        sentences.append(
            "There is no mean of five minutes yet." if is_tonight else "Nothing is known of this night."
        )
    elif found is None:
        sentences.append("The sky was too bright to be measured.")
    else:
        where = " in channel F1" if channels(means) > 1 else ""
        sentences.append(
            f"Darkest at {clock(found.at)}: {found.magnitude:.2f} mag/arcsec²{where} over five minutes."
        )
    if place is None:
        sentences.append(
            "Where it stands is not known, so there is no twilight and no Moon: see [site] places."
        )
    else:
        night_skies = skies(night, place)
        dark = below(night_skies, -18.0)
        if dark:
            sentences.append(f"Astronomical night from {clock(dark[0][0])} to {clock(dark[-1][1])}.")
        else:
            sentences.append("The Sun does not get 18° below the horizon.")
        middle = moon_in_words(night_skies[len(night_skies) // 2][1])
        sentences.append(f"{middle[0].upper()}{middle[1:]}.")
    return " ".join(sentences)


def _legend(means: Means, night_skies: NightSkies) -> Html:
    lines = CHANNELS if channels(means) > 1 else ("magnitude",)
    items = [(f"line c{place}", name) for place, name in enumerate(lines, 1)]
    items.append(("shade gap", "no readings"))
    if night_skies:
        items += [
            ("shade day", "day"),
            ("shade civil", "Sun below horizon"),
            ("shade nautical", "below −6°"),
            ("shade astronomical", "below −12°"),
            ("shade dark", "below −18°"),
            ("moonline", "altitude of the Moon"),
        ]
    return tag(
        "figcaption",
        tag("ul", [tag("li", swatch(class_), f" {name}") for class_, name in items], class_="legend"),
    )


def _numbers(means: Means, night: Night, place: Position | None) -> Html:
    """The same as a table, of every hour."""
    count = channels(means)
    names = [f"{name}, mag/arcsec²" for name in CHANNELS] if count > 1 else ["mag/arcsec²"]
    heads = ["Hour", *names, "sky − ambient", *(["Sun", "Moon"] if place else [])]
    rows = []
    for hour in range(24):
        start = night.start + hour * HOUR
        some = [each for each in means if start <= each.start / 1_000 < start + HOUR]
        mags = [
            _mean([each.mags[channel] for each in some if channel < len(each.mags)])
            for channel in range(count)
        ]
        cold = _mean(
            [
                each.tsky - each.tamb if each.tsky is not None and each.tamb is not None else None
                for each in some
            ]
        )
        cells = [_magnitude(mag) for mag in mags]
        cells.append("–" if cold is None else f"{with_sign(cold)} °C")
        if place is not None:
            seen = sky(start + HOUR / 2, *place)
            cells += [f"{with_sign(seen.sun, 0)}°", f"{with_sign(seen.moon, 0)}°"]
        rows.append(tag("tr", tag("th", clock(start), scope="row"), [tag("td", cell) for cell in cells]))
    return tag(
        "details",
        tag("summary", "The night in numbers"),
        tag(
            "div",
            tag(
                "table",
                tag("caption", "Means of an hour", class_="unseen"),
                tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
                tag("tbody", rows),
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="The night in numbers",
        ),
        id="numbers",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    some = [value for value in values if value is not None]
    return sum(some) / len(some) if some else None


def _magnitude(mag: float | None) -> str:
    return "–" if mag is None else f"{mag:.2f}" if mag >= 8 else "too bright"


def _small(shown: Shown, night: Night, top: int) -> Html:
    means = shown.of(night)
    found = darkest(means)
    none = "nothing yet" if night == shown.tonight else "no readings"
    words = f"{found.magnitude:.2f}" if found else "too bright" if means else none
    is_this = night == shown.night
    return tag(
        "li",
        tag(
            "a",
            small_night(night, means, skies(night, shown.place), top=top),
            tag(
                "span",
                tag("span", f"{night.date:%a %-d %b}", class_="date"),
                " ",
                tag("span", words, class_="value"),
                class_="words",
            ),
            href=href(shown.photometer.name, night=night.date.isoformat()),
            aria_current="page" if is_this else None,
        ),
    )


def _troubles(photometer: Photometer, now: float) -> Html | None:
    """Why messages of it were not stored."""
    if not photometer.causes and state(photometer) != SILENT:
        return None
    items = [
        tag("li", tag("b", cause), f": last {ago(at / 1_000, now)}, ", _at(at / 1_000))
        for cause, at in photometer.causes
    ]
    if state(photometer) == SILENT:
        items.insert(0, tag("li", tag("b", "silent"), " since ", _at(photometer.heard / 1_000)))
    return tag("section", tag("h2", "What was not stored"), tag("ul", items, class_="causes"))


def _at(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC"
