"""Quantities and the arithmetic of what fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.resources import Resources, format_bytes, parse_bytes, parse_cpu, parse_gpu
from tests.model.hostile import cells

UNITS = {
    "": 1,
    "B": 1,
    "K": 1000,
    "kB": 1000,
    "Kb": 1000,
    "KiB": 1024,
    "ki": 1024,
    "M": 1000**2,
    "MB": 1000**2,
    "Mi": 1024**2,
    "MIB": 1024**2,
    "G": 1000**3,
    "gb": 1000**3,
    "GiB": 1024**3,
    "T": 1000**4,
    "TB": 1000**4,
    "Ti": 1024**4,
    "PB": 1000**5,
    "PiB": 1024**5,
    "EB": 1000**6,
    "EiB": 1024**6,
}
amounts = st.builds(
    Resources,
    cpu=st.integers(0, 10**6).map(lambda thousandths: thousandths / 1000),
    memory=st.integers(0, 2**63 - 1),
    disk=st.integers(0, 2**63 - 1),
    gpu=st.integers(0, 2**31) | st.just("all"),
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # The original's table A.
        ("42", 42),
        ("42MB", 42_000_000),
        ("42mb", 42_000_000),
        ("42MiB", 44_040_192),
        ("42mib", 44_040_192),
        # Further forms that its documentation and its users write.
        ("100Mi", 104_857_600),
        ("1Gb", 1_000_000_000),
        ("512Mb", 512_000_000),
        ("1.5GB", 1_500_000_000),
        (" 8 GiB ", 8 * 1024**3),
        (".5k", 500),
        ("1.", 1),
        ("+7", 7),
        ("1e3", 1000),
        ("2E3kB", 2_000_000),
        ("-0", 0),
        (0, 0),
        (42, 42),
        (1.5, 2),  # rounded up
        (1e9, 10**9),
        ("0.1", 1),
        ("1e-99", 1),
        ("0" * 97 + "42B", 42),
        ("9007199254740993", 9_007_199_254_740_993),  # no float holds it
        ("9223372036854775807", 2**63 - 1),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_bytes(value: Any, expected: int) -> None:
    assert parse_bytes(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *cells(
            """
            MB  1 2  1,5GB  12XB  1KBs  1iB  0x10  1_000  ٣  ¹  nan  inf  -1  -0.5MB  1e9999  8EiB  9999999 PB  1e999
            5 m/s  --1  1..2
            """
        ),
        *(
            "",
            " ",
            "1MB\0",
            "\ud800",
            "0" * 98 + "42B",
            "9" * 10_000,
            True,
            None,
            b"1",
            [],
            -1,
            -0.5,
            2**63,
            10**5000,
        ),
        *(float("nan"), float("inf"), 1e300),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int of {value.bit_length()} bits",
)
def test_bytes_that_are_none(value: Any) -> None:
    with pytest.raises(InvalidSpecError):
        parse_bytes(value)


@given(number=st.integers(0, 10**6), unit=st.sampled_from([*UNITS]), space=st.sampled_from(["", " ", "\t"]))
def test_units(number: int, unit: str, space: str) -> None:
    size = number * UNITS[unit]
    if size < 2**63:
        assert parse_bytes(f"{number}{space}{unit}") == parse_bytes(size) == size
    else:
        with pytest.raises(InvalidSpecError, match=r"more than 2\*\*63"):
            parse_bytes(f"{number}{space}{unit}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500m", 0.5),
        ("0.5", 0.5),
        ("2", 2.0),
        ("100m", 0.1),
        ("1500000u", 1.5),
        ("2000000000n", 2.0),
        ("1k", 1000.0),
        ("1Ki", 1024.0),
        ("1M", 1e6),
        ("0.5Mi", 524_288.0),
        (" 250m ", 0.25),
        ("1e3m", 1.0),
        (0, 0.0),
        (4, 4.0),
        (0.1, 0.1),
        (-0.0, 0.0),
        (0.0001, 0.001),  # rounded up to a thousandth
        ("1n", 0.001),
        ("0.1234", 0.124),
        (1_000_000, 1e6),
    ],
)
def test_cpu(value: Any, expected: float) -> None:
    assert parse_cpu(value) == expected
    assert str(parse_cpu(value)) == str(expected)  # no -0.0


@pytest.mark.parametrize(
    "value",
    [
        *cells("m  5 cores  500M  1Mi  1K  1G  -1  -1m  nan  inf  1e9"),
        *(
            "",
            "1\0",
            "9" * 1000,
            1_000_001,
            10**5000,
            True,
            None,
            [1],
            b"1",
            -1,
            -0.001,
            float("nan"),
            float("inf"),
        ),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int of {value.bit_length()} bits",
)
def test_cpu_that_is_none(value: Any) -> None:
    with pytest.raises(InvalidSpecError):
        parse_cpu(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (2, 2), ("2", 2), (" 0 ", 0), ("all", "all"), (" all ", "all"), (2**31, 2**31)],
)
def test_gpu(value: Any, expected: int | str) -> None:
    assert parse_gpu(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ALL",
        "some",
        "-1",
        "1.5",
        "1k",
        "٣",
        "9" * 5000,
        -1,
        1.0,
        True,
        None,
        2**31 + 1,
        10**5000,
        ["all"],
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int of {value.bit_length()} bits",
)
def test_gpu_that_is_none(value: Any) -> None:
    with pytest.raises(InvalidSpecError):
        parse_gpu(value)


def test_all_problems_are_reported_with_their_fields() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Resources(cpu="-1", memory="9999999 PB", disk="lots", gpu=-2)
    assert [problem.path for problem in caught.value.problems] == ["cpu", "memory", "disk", "gpu"]


@given(amounts)
def test_a_value_that_was_parsed_is_parsed_to_itself(asked: Resources) -> None:
    assert Resources(asked.cpu, asked.memory, asked.disk, asked.gpu) == asked
    assert Resources(str(asked.cpu), str(asked.memory), f"{asked.disk} B", str(asked.gpu)) == asked
    assert Resources.exactly(asked.cpu, asked.memory, asked.disk, asked.gpu) == asked


@pytest.mark.parametrize(
    ("asked", "free", "short"),
    [
        ({}, {}, []),
        ({"cpu": 1}, {"cpu": 1}, []),
        ({"cpu": 1.001}, {"cpu": 1}, ["cpu 1.001 of 1"]),
        ({"memory": "2GB"}, {"memory": "1GiB"}, ["memory 2 GB of 1 GiB"]),
        ({"disk": 1}, {}, ["disk 1 B of 0 B"]),
        ({"gpu": 2}, {"gpu": 1}, ["gpu 2 of 1"]),
        ({"gpu": "all"}, {"gpu": 1}, []),
        ({"gpu": "all"}, {"gpu": 0}, ["gpu all of 0"]),
        ({"gpu": 2}, {"gpu": "all"}, []),
        ({"gpu": "all"}, {"gpu": "all"}, []),
        (
            {"cpu": 2, "memory": 2, "disk": 2, "gpu": 2},
            {"cpu": 1, "memory": 1, "disk": 1, "gpu": 1},
            ["cpu 2 of 1", "memory 2 B of 1 B", "disk 2 B of 1 B", "gpu 2 of 1"],
        ),
    ],
)
def test_shortage(asked: dict[str, Any], free: dict[str, Any], short: list[str]) -> None:
    assert list(Resources(**asked).shortage(Resources(**free))) == short
    assert Resources(**asked).fits(Resources(**free)) is not bool(short)


@given(amounts, amounts)
def test_what_fits(asked: Resources, free: Resources) -> None:
    assert asked.fits(asked)
    assert Resources().fits(free)
    axes = [asked.cpu <= free.cpu, asked.memory <= free.memory, asked.disk <= free.disk]
    if asked.gpu != "all" and free.gpu != "all":
        axes.append(asked.gpu <= free.gpu)
        assert asked.fits(free) is all(axes)
    assert len(asked.shortage(free)) >= axes.count(False)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (300, "300 B"),
        (1000, "1 KB"),
        (1024, "1 KiB"),
        (1536, "1536 B"),
        (512_000_000, "512 MB"),
        (8 * 1024**3, "8 GiB"),
        (44_040_192, "42 MiB"),
        (1_234_567, "1234567 B"),
        (12_345_678, "12345678 B"),
        (123_456_789, "117.7 MiB"),
        (2**30 - 1, "1024.0 MiB"),
        (2**30 + 1, "1.0 GiB"),
        (2**63 - 1, "8.0 EiB"),
        (2**80, "1048576.0 EiB"),
    ],
)
def test_format_bytes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 2**62) | st.integers(0, 4000).map(lambda number: number * 1024**3))
def test_a_size_that_was_written_can_be_read(size: int) -> None:
    text = format_bytes(size)
    assert abs(parse_bytes(text) - size) <= (size * 0.05 if "." in text else 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Resources(), "nothing"),
        (Resources(cpu=2, memory="8GiB"), "cpu 2, memory 8 GiB"),
        (Resources(disk=1, gpu="all"), "disk 1 B, gpu all"),
    ],
)
def test_resources_as_text(value: Resources, text: str) -> None:
    assert str(value) == text
