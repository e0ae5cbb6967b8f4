"""The colours of both themes: letters and lines are seen by everybody (WCAG 2.2, AA)."""

import re
from importlib import resources

import pytest

CSS = (resources.files("tessflux.pages") / "page.css").read_text()
DAY, NIGHT = (
    dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
)
NIGHT = DAY | NIGHT

LETTERS = ("text", "quiet", "link", "well", "warn", "bad")
LINES = ("line", "line2", "line3", "line4", "cold", "moon", "well", "bad", "quiet")
SHADES = ("unknown", "day", "civil", "nautical", "astronomical", "dark")


def luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [DAY, NIGHT], ids=["day", "night"])
def test_letters_and_lines_are_seen(theme: dict[str, str]) -> None:
    for name in LETTERS:
        for ground in ("ground", "panel"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    for name in LINES:
        for shade in ("ground", "panel", *SHADES):
            assert contrast(theme[name], theme[shade]) >= 3, (name, shade)


def test_by_night_all_light_is_red() -> None:
    """Blue and green light blind the eyes of those who are out in the dark."""
    for name, colour in NIGHT.items():
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        assert (red, green, blue) == (0, 0, 0) or (red > green and red > blue), name
        assert luminance(colour) < 0.6, name
