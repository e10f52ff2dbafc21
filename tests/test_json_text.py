"""JSON that is read at first sight is what reading it with care gives, and what care refuses is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository import ROOT

from robench_fire import json_text

TEXTS = st.text(st.sampled_from('ab":{}[],\\/ne\u001bü±\u202e\x7f\n'), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12)
DOUBTFUL = [
    '{"a": 1, "a": 2}', '{"a" : 1, "a": 2}', '{"a": {"b": 1, "b": 1}}', '{"a": 1e999}', "[-1e999]", "1e999",
    '{"a": NaN}', "[" + "9" * 31 + "]", r'{"a": "\u001b"}', r'{"\u009b": 1}', r'{"a": "\\\u001b"}', r'{"a": "\ud800"}',
    '{"a": "\x7f"}', '{"a": "ü\x9b"}', "[" * 64 + "1" + "]" * 64, "[" * 5000 + "]" * 5000, '{"a": 1', "",
]  # fmt: skip


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_both_ways_read_the_same(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    quick = json_text._plainly(text)
    if quick is not None:
        assert json.dumps(quick) == json.dumps(json_text._carefully(text))


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_is_doubtful_is_looked_at_with_care(text: str) -> None:
    assert json_text._plainly(text) is None
    with pytest.raises(ValueError, match=r"."):
        json_text.from_json(text)


def test_rows_of_boards_are_read_at_first_sight() -> None:
    """Those that explain a radius of 0.031 in a formula too."""
    rows = sorted((ROOT / "leaderboards").rglob("*.json"))
    texts = [path.read_text(encoding="utf-8") for path in rows]
    texts.append(r'{"footnote": "Uses \\(\\ell_{\\infty} \\) = 0.031 ≈ 7.9/255", "a \"b\"": "c/d"}')
    assert [text[:40] for text in texts if json_text._plainly(text) is None] == []
