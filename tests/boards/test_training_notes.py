"""What a row says of its profile, and of images that were added."""

from __future__ import annotations

import pytest
from altered_rows import EVERY, planned

PROFILES = {
    "modern": ({"ema_decay": 0.995, "label_smoothing": 0.1, "schedule": {"kind": "OneCycle"}},
               ": weights averaged (0.995), labels smoothed (0.1), one cycle of the rate"),
    "fastat": ({"ema_decay": 0.9995, "label_smoothing": 0.4, "schedule": {"kind": "OneCycle"}, "select": "copies"},
               ": weights averaged (0.9995), labels smoothed (0.4), one cycle of the rate, epoch and copy chosen on "
               "validation images"),
    "short": ({"schedule": {"kind": "Cyclic"}}, ""),
    "official": ({"select": "validation"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_says_what_it_trained_with(profile: str) -> None:
    changes, said = PROFILES[profile]
    row = planned(EVERY["FIRE"], recipe=changes, profile=profile)
    assert f"Trained with the {profile} profile{said}." in row.footnotes()


@pytest.mark.parametrize(
    ("made_by", "share", "count", "said"),
    [
        ("generator", 0.7, 1_000_000, "1,000,000 generated images of a file, 70% of each batch"),
        (None, 0.5, 500_000, "500,000 pseudo-labelled images of a file, 50% of each batch"),
        (None, 0.5, None, "pseudo-labelled images of a file, 50% of each batch"),
    ],
)
def test_added_images_are_said_with_their_kind_amount_and_share(
    made_by: str | None, share: float, count: int | None, said: str
) -> None:
    extra = {"kind": "Extra", "source": "file", "sha256": "0" * 64, "share": share, "hidden": 0.5}
    facts = {} if count is None else {"extra_images": count}
    row = planned(EVERY["FIRE"], recipe={"extra": extra | ({"made_by": made_by} if made_by else {})}, **facts)
    assert f"Extra data: {said}." in row.footnotes()
    assert row.extra == "file"
