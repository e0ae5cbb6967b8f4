"""Means of five minutes: what goes in comes out, as precise as on the disk; what is missing is a gap."""

from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from tessflux.photometers.means import IN_BLOCK, SECONDS, Mean, Means, blocks, first_magnitudes, mean, merged

BUCKET = 5_900_000
START = BUCKET * SECONDS * 1_000

readings = st.lists(
    st.fixed_dictionaries(
        {"freq": st.just(0.5)},
        optional={
            "mag": st.floats(-10, 27),
            "tamb": st.floats(-50, 60),
            "tsky": st.floats(-50, 60),
        },
    ),
    max_size=20,
)


def stored(parts: list[list[dict[str, float]]], number: int = 5) -> bytes | None:
    """The block of a photometer whose readings were saved in several parts."""
    block = None
    for part in parts:
        means = Means()
        for fields in part:
            means.add(START + 7, number, fields)
        for records in blocks(means.sums.get(BUCKET, {})).values():
            block = merged(block, records)
    return block


def average(readings: list[dict[str, float]], key: str) -> float | None:
    values = [each[key] for each in readings if key in each]
    return sum(values) / len(values) if values else None


def same(found: float | None, expected: float | None, step: float) -> bool:
    if found is None or expected is None:
        return found is expected
    return isclose(found, expected, abs_tol=step)


@given(readings)
def test_a_mean_is_that_of_what_was_measured(all_readings: list[dict[str, float]]) -> None:
    block = stored([all_readings])
    if not all_readings:
        assert block is None
        return
    assert block is not None
    found = mean(BUCKET, 5, block)
    assert found is not None
    assert (found.start, found.count, len(found.mags)) == (START, len(all_readings), 1)
    assert same(found.mags[0], average(all_readings, "mag"), 0.000_51)
    assert same(found.tamb, average(all_readings, "tamb"), 0.005_1)
    assert same(found.tsky, average(all_readings, "tsky"), 0.005_1)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_five_minutes_that_are_saved_in_parts_have_the_mean_of_all(sizes: list[int]) -> None:
    values = iter(range(10_000))
    parts = [[{"freq": 1.0, "mag": next(values) / 10, "tamb": 3.0} for _ in range(size)] for size in sizes]
    block = stored(parts)
    assert block is not None
    found = mean(BUCKET, 5, block)
    assert found is not None
    assert found.count == sum(sizes)
    assert same(found.mags[0], average([each for part in parts for each in part], "mag"), 0.001 * len(sizes))
    assert (found.tamb, found.tsky) == (3.0, None)


def test_what_only_one_part_has_measured_is_in_the_mean_of_all() -> None:
    parts = [[{"freq": 1.0, "mag": 20.0, "tamb": 3.0}], [{"freq": 1.0, "mag": 21.0, "tsky": -9.0}]]
    block = stored(parts)
    assert block is not None
    assert mean(BUCKET, 5, block) == Mean(START, 2, (20.5,), 3.0, -9.0)


def test_a_tess4c_has_four_magnitudes_and_a_broken_channel_is_a_gap() -> None:
    block = stored([[{"mag1": 20.0, "mag2": 21.0, "mag4": 19.0}, {"mag1": 20.5, "mag2": 21.0, "mag4": 19.0}]])
    assert block is not None
    assert mean(BUCKET, 5, block) == Mean(START, 2, (20.25, 21.0, None, 19.0), None, None)


def test_photometers_of_a_block_do_not_mix() -> None:
    means = Means()
    for number in (0, 1, IN_BLOCK - 1, IN_BLOCK, 3 * IN_BLOCK + 2):
        means.add(START, number, {"freq": 1.0, "mag": number / 10})
    found = blocks(means.sums[BUCKET])
    assert {block: sorted(places) for block, places in found.items()} == {0: [0, 1, 63], 1: [0], 3: [2]}
    block = merged(None, found[0])
    assert first_magnitudes([0, 1, 2, 63], block) == [0.0, 0.1, None, 6.3]
    assert mean(BUCKET, 2, block) is None


def test_what_does_not_fit_is_a_gap_and_not_another_number() -> None:
    block = stored([[{"freq": 1.0, "mag": 1e300, "tamb": -400.0, "tsky": 1.0}]])
    assert block is not None
    assert mean(BUCKET, 5, block) == Mean(START, 1, (None,), None, 1.0)
