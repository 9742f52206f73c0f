"""Platforms: how they are spelled, and which host runs which image."""

from __future__ import annotations

from itertools import chain, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.errors import InvalidSpecError
from bacalhau_sdk.model.platform import Platform, PlatformSupport
from tests.model.hostile import cells

SPELLINGS = {
    "linux/amd64": [
        "linux/x86_64",
        "linux/x86-64",
        "Linux/AMD64",
        " linux / amd64 ",
        "linux/amd64/v1",
        "linux/amd64/1",
    ],
    "linux/amd64/v3": ["linux/x86_64/v3", "linux/amd64/3", "linux/amd64/V3"],
    "linux/arm64": [
        "linux/aarch64",
        "linux/arm64/v8",
        "linux/arm64/8",
        "linux/aarch64/v8.0",
        "linux/arm64/8.0",
    ],
    "linux/arm64/v9": ["linux/arm64/9", "linux/arm64/v9.0", "linux/arm64/9.0"],
    "linux/arm64/v8.2": ["linux/aarch64/8.2"],
    "linux/arm/v7": ["linux/arm", "linux/arm/7", "linux/armhf", "linux/armv7l", "linux/armhf/v6"],
    "linux/arm/v6": ["linux/armel", "linux/arm/6", "linux/armv6l"],
    "linux/arm/v8": ["linux/arm/8"],
    "linux/386": ["linux/i386", "linux/i686"],
    "darwin/arm64": ["macos/aarch64", "macOS/arm64", "Darwin/arm64/v8"],
    "windows/amd64": ["Windows/AMD64"],
    "linux/riscv64": [],
    "linux/s390x": [],
    "linux/ppc64le": [],
}
# Every numbered variant, and some names that no rule knows.
VARIANTS = {
    "amd64": ["", "v2", "v3", "v4", "v2.1", "zen"],
    "arm": ["v4", "v5", "v6", "v7", "v8", "v9", "v7.1", "soft"],
    "arm64": [
        "",
        *(f"v8.{minor}" for minor in range(1, 10)),
        "v9",
        *(f"v9.{minor}" for minor in range(1, 6)),
        "apple",
    ],
    "386": ["", "sse2"],
    "riscv64": ["", "rva23"],
}
UNIVERSE = [
    Platform("linux", architecture, each) for architecture in VARIANTS for each in VARIANTS[architecture]
]
ARM = ["arm/v5", "arm/v6", "arm/v7", "arm/v8"]
ARM64_V8 = ["arm64", *(f"arm64/v8.{minor}" for minor in range(1, 10))]
I386 = ["386", "386/sse2"]

platforms = st.builds(
    Platform,
    st.sampled_from(["linux", "Windows", "macos", "freebsd"]),
    st.sampled_from(
        [
            *VARIANTS,
            "x86_64",
            "x86-64",
            "aarch64",
            "armhf",
            "armel",
            "armv7l",
            "armv6l",
            "i386",
            "i686",
            "mips64le",
        ]
    ),
    st.sampled_from(["", "1", "v1", "v8.0.0", "9.0", "V8.5", *chain.from_iterable(VARIANTS.values())])
    | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,6}", fullmatch=True),
)


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [(each, canonical) for canonical, others in SPELLINGS.items() for each in [canonical, *others]],
)
def test_spellings(spelling: str, canonical: str) -> None:
    assert str(Platform.parse(spelling)) == canonical
    assert Platform.parse(spelling) == Platform.parse(canonical) == Platform(*spelling.split("/"))
    assert hash(Platform.parse(spelling)) == hash(Platform.parse(canonical))


@pytest.mark.parametrize(
    "text",
    [
        *cells(
            """
            linux  amd64  /  linux/  /amd64  linux//v7  linux/arm/  linux/arm/v7/x  linux/a b  li nux/amd64  -/-  linux/é
            windows(10.0)/amd64
            """
        ),
        *("", "linux/arm/ ", "linux/amd64\n/v1\0", "x" * 70 + "/amd64", "linux/" * 1000),
        *(None, 5, [], ("linux", "amd64"), b"linux/amd64", {}),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_text_that_is_no_platform(text: Any) -> None:
    with pytest.raises(InvalidSpecError):
        Platform.parse(text)


def test_every_wrong_part_is_named() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        Platform("", "a b", "\0")
    assert [problem.path for problem in caught.value.problems] == ["os", "architecture", "variant"]


@given(platforms)
def test_normalising_twice_changes_nothing(platform: Platform) -> None:
    assert Platform(platform.os, platform.architecture, platform.variant) == platform
    assert Platform.parse(str(platform)) == platform
    assert Platform.parse(platform) is platform


@pytest.mark.parametrize(
    ("host", "images"),
    [
        ("amd64", ["amd64", *I386]),
        ("amd64/v2", ["amd64", "amd64/v2", *I386]),
        ("amd64/v3", ["amd64", "amd64/v2", "amd64/v3", *I386]),
        ("amd64/v4", ["amd64", "amd64/v2", "amd64/v3", "amd64/v4", *I386]),
        ("amd64/zen", ["amd64/zen", *I386]),
        ("amd64/v2.1", ["amd64/v2.1", *I386]),
        ("386", ["386"]),
        ("arm/v4", ["arm/v4"]),
        ("arm/v5", ["arm/v5"]),
        ("arm/v6", ["arm/v5", "arm/v6"]),
        ("arm/v7", ["arm/v5", "arm/v6", "arm/v7"]),
        ("arm/v8", ARM),
        ("arm/soft", ["arm/soft"]),
        ("arm64", ["arm64", *ARM]),
        ("arm64/v8.3", [*ARM64_V8[:4], *ARM]),
        ("arm64/v8.9", [*ARM64_V8, *ARM]),
        ("arm64/v9", [*ARM64_V8[:6], "arm64/v9", *ARM]),
        ("arm64/v9.1", [*ARM64_V8[:7], "arm64/v9", "arm64/v9.1", *ARM]),
        ("arm64/v9.5", [*ARM64_V8, "arm64/v9", *(f"arm64/v9.{minor}" for minor in range(1, 6)), *ARM]),
        ("arm64/apple", ["arm64/apple", *ARM]),
        ("riscv64", ["riscv64"]),
        ("riscv64/rva23", ["riscv64/rva23"]),
    ],
)
def test_a_host_runs_just_these_images(host: str, images: list[str]) -> None:
    runner = Platform.parse(f"linux/{host}")
    assert {str(image) for image in UNIVERSE if runner.runs(image)} == {f"linux/{image}" for image in images}


@pytest.mark.parametrize("os", ["windows", "darwin", "freebsd"])
def test_no_host_runs_an_image_of_another_system(os: str) -> None:
    others = [Platform(os, image.architecture, image.variant) for image in UNIVERSE]
    assert not [pair for pair in product(UNIVERSE, others) if pair[0].runs(pair[1]) or pair[1].runs(pair[0])]


@given(platforms)
def test_every_host_runs_its_own_platform(platform: Platform) -> None:
    assert platform.runs(platform)


@pytest.mark.parametrize("architecture", [*VARIANTS])
def test_running_is_an_order_within_an_architecture(architecture: str) -> None:
    own = [Platform("linux", architecture, variant) for variant in VARIANTS[architecture]]
    for high, middle, low in product(own, repeat=3):
        assert high.runs(low) or not (high.runs(middle) and middle.runs(low))
    assert not [(a, b) for a, b in product(own, repeat=2) if a != b and a.runs(b) and b.runs(a)]


def test_support_says_when_it_is_emulated() -> None:
    arm = Platform("linux", "arm64")
    assert (str(PlatformSupport(arm)), str(PlatformSupport(arm, emulated=True))) == (
        "linux/arm64",
        "linux/arm64 (emulated)",
    )
    assert sorted([arm, Platform("darwin", "arm64")]) == [Platform("darwin", "arm64"), arm]
