"""What is wrong with the register messages in a database is found, and nothing if all is right."""

import json

import pytest

from tests.faults.registers import LINE, Registers


def published() -> Registers:
    """Three zero points of one photometer, the second at QoS 0, and one of another."""
    registers = Registers()
    said = [json.loads(registers.publish("stars1", qos)[1])["calib"] for qos in (0, 1, 0, 0, 1, 1)]
    assert said == [10.0, 10.0, 10.125, 10.125, 10.25, 10.25]
    registers.publish("stars2", 1)
    assert registers.changes == 4
    return registers


@pytest.mark.parametrize("points", [[10.0, 10.125, 10.25], [10.0, 10.25], [10.0, 10.25, 10.0, 10.25]])
def test_what_was_said_is_right(points: list[float]) -> None:
    assert published().problems({"stars1": points, "stars2": [10.0]}) == []


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([10.0, 10.0, 10.25], "stars1 says the same twice: [10.0, 10.0, 10.25]"),
        ([10.0, 10.25, 11.0], "stars1 never said [11.0]"),
        ([10.0, 10.125], "stars1 also said [10.25]"),
        ([], "stars1 also said [10.0, 10.25]"),
    ],
)
def test_what_is_wrong_is_found(points: list[float], problem: str) -> None:
    assert published().problems({"stars1": points, "stars2": [10.0]}) == [problem]


def test_a_photometer_that_never_published_is_found() -> None:
    assert Registers().problems({"stars9": [10.0]}) == ["stars9 never said [10.0]"]


def test_a_line_is_read() -> None:
    match = LINE.fullmatch('photometers,name=stars1 mac="5C:CF:7F:08:0A:01",zp=10.125 1772323214000')
    assert match is not None
    assert match.groups() == ("stars1", "10.125", "1772323214000")
