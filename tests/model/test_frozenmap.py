"""The frozen mapping of specs."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacalhau_sdk.model.frozenmap import FrozenMap


@given(st.dictionaries(st.text(), st.integers()))
def test_it_is_the_mapping_it_was_made_from(items: dict[str, int]) -> None:
    frozen = FrozenMap(items)
    backwards = FrozenMap(reversed(items.items()))
    assert frozen == items == dict(frozen)
    assert frozen == MappingProxyType(items)
    assert frozen == backwards
    assert hash(frozen) == hash(backwards)
    assert [*frozen.items()] == [*items.items()] == [*zip(frozen.keys(), frozen.values(), strict=True)]
    assert len(frozen) == len(items)
    assert all(key in frozen and frozen[key] == value for key, value in items.items())
    assert frozen != {**items, "\0 another": 1}
    assert repr(frozen) == repr(items)
    assert pickle.loads(pickle.dumps(frozen)) == copy.deepcopy(frozen) == frozen


def test_nothing_of_it_can_be_changed() -> None:
    source = {"a": 1}
    frozen: Any = FrozenMap(source)
    source["a"] = 2
    assert frozen == {"a": 1}
    for change in (
        lambda: frozen.__setitem__("a", 2),
        lambda: frozen.items().mapping.__setitem__("a", 2),
        lambda: frozen.update(a=2),
        lambda: setattr(frozen, "a", 2),
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()
    with pytest.raises(KeyError):
        frozen["b"]
    assert frozen != 5
    assert "b" not in frozen
    assert [] not in [*frozen]
