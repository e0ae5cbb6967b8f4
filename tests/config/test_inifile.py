"""The lines of a config file: what they mean, and the problem with each line that means nothing."""

import pytest

from tessflux.config.inifile import read

KNOWN = {"global": ("log_level",), "mqtt": ("broker", "qos", "topics", "log_level")}


def values(text: str) -> dict[str, str]:
    entries, problems = read("config", text, KNOWN)
    assert problems == []
    return {f"{section}.{key}": entry.value for (section, key), entry in entries.items()}


def problems(text: str) -> list[tuple[int, str]]:
    found = read("config", text, KNOWN)[1]
    assert {problem.file for problem in found} <= {"config"}
    return [(problem.line, problem.text) for problem in found]


@pytest.mark.parametrize(
    "text",
    [
        "[global]\nlog_level = warn",
        "[global]\nLOG_LEVEL: warn\n",
        "[global]\r\nlog_level=warn\r\n",
        "# top\n; top\n[global] # of all\n  # inside\n\nlog_level = warn ; not too much\n",
        "[global]\n  log_level = warn\n",
        "[global]\nlog_level =\n  warn\n",
        "[ GLOBAL ]\nlog_level\t=\twarn\t\n",
    ],
)
def test_the_forms_that_a_line_can_have(text: str) -> None:
    assert values(text) == {"global.log_level": "warn"}


def test_sections_have_keys_of_their_own() -> None:
    text = "[mqtt]\nqos = 1\nlog_level = a\n[global]\nlog_level = b\n"
    assert values(text) == {"mqtt.qos": "1", "mqtt.log_level": "a", "global.log_level": "b"}


def test_a_value_may_hold_the_characters_of_the_grammar() -> None:
    assert values("[mqtt]\nbroker = a=b:c#d;e[f]%(g)s # h") == {"mqtt.broker": "a=b:c#d;e[f]%(g)s # h"}


@pytest.mark.parametrize("text", ["", " ", '""', ' "" ; nothing'])
def test_a_value_may_be_empty(text: str) -> None:
    assert values(f"[mqtt]\nbroker ={text}\nqos = 1") == {"mqtt.broker": "", "mqtt.qos": "1"}


def test_a_value_goes_on_in_lines_that_begin_with_a_blank() -> None:
    text = "[mqtt]\ntopics = a,\n  b = 1 ; why\n\n# a comment\n\t[c]\nqos = 0\n"
    assert values(text) == {"mqtt.topics": "a,\nb = 1\n[c]", "mqtt.qos": "0"}


def test_an_entry_knows_the_line_where_it_begins() -> None:
    entries, _ = read("config", "# one\n[mqtt]\n\ntopics =\n  a\nqos = 1\n", KNOWN)
    assert {key: entry.line for (_, key), entry in entries.items()} == {"topics": 4, "qos": 6}


def test_an_entry_shows_no_value() -> None:
    assert "hunter2" not in repr(read("config", "[mqtt]\nbroker = hunter2\n", KNOWN))


def test_lines_are_counted_as_editors_count_them() -> None:
    assert problems("[mqtt]\nbroker = a\u2028b\x85c\x0cd\nzzz = 1")[0][0] == 3


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[mqt]\nurl = x\n", 1, "unknown section [mqt]; did you mean [mqtt]?"),
        ("\n[zzz]\n", 2, "unknown section [zzz]; the sections are [global], [mqtt]"),
        ("[mqtt]\ntopic = a", 2, "[mqtt] topic: unknown key; did you mean topics?"),
        ("[mqtt]\nlog level = a", 2, "[mqtt] log level: unknown key; did you mean log_level?"),
        ("[global]\nqos = 1", 2, "[global] qos: unknown key; it belongs in [mqtt]"),
        ("[global]\nzzz = 1", 2, "[global] zzz: unknown key; the keys here are log_level"),
        (
            "[mqtt]\nqos = 1\n\nQOS = 0",
            4,
            "[mqtt] qos is already in line 2: keep one of them",
        ),
        (
            "[mqtt]\n[global]\n[mqtt]\n",
            3,
            "section [mqtt] is already in line 1: merge the two",
        ),
        ("qos = 1\n", 1, "qos is above the first section: put it under one of [global], [mqtt]"),
        ("[mqtt]\nqos", 2, "in [mqtt]: this line is not a `key = value`, a [section] or a # comment"),
        ("[mqtt]\n= 1", 2, "in [mqtt]: this line is not a `key = value`, a [section] or a # comment"),
        ("qos\n", 1, "this line is not a `key = value`, a [section] or a # comment"),
        (
            "[mqtt]\n\x1b[2J = 1",
            2,
            "in [mqtt]: this line is not a `key = value`, a [section] or a # comment",
        ),
        ("[mqtt\n", 1, "write a section as [name], on a line of its own"),
        ("[mqtt] qos = 1\n", 1, "write a section as [name], on a line of its own"),
        ("[]\n", 1, "write a section as [name], on a line of its own"),
    ],
)
def test_what_is_no_entry_is_a_problem_with_its_line(text: str, line: int, part: str) -> None:
    assert problems(text) == [(line, part)]


def test_the_first_of_two_entries_counts() -> None:
    entries, _ = read("config", "[mqtt]\nqos = 1\nqos = 0\n  and more\n", KNOWN)
    assert entries["mqtt", "qos"].value == "1"


def test_an_unknown_section_or_key_swallows_what_belongs_to_it() -> None:
    text = "[mqtt]\ntopic = a,\n  b\n[mq]\nurl = http://x\n  more\nnothing\n[global]\nx\n"
    assert [line for line, _ in problems(text)] == [2, 4, 9]


def test_a_section_in_two_places_has_the_keys_of_both() -> None:
    entries, _ = read("config", "[mqtt]\nqos = 1\n[global]\n[mqtt]\nbroker = a\n", KNOWN)
    assert set(entries) == {("mqtt", "qos"), ("mqtt", "broker")}
