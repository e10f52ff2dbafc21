"""Any plan and its JSON, and any of its settings and the text that sets it."""

from __future__ import annotations

import json
from typing import Any

from any_plan import plans, rebuilt
from hypothesis import assume, given
from hypothesis import strategies as st
from plans import value

from robench_fire.errors import RecipeError
from robench_fire.files import as_json
from robench_fire.problem.plan import Plan, fingerprint, override
from robench_fire.problem.settings import leaves, plan_fingerprint, to_plain


@given(plans())
def test_a_plan_comes_back_from_its_file(plan: Plan) -> None:
    plain = json.loads(as_json(to_plain(plan)).encode())
    assert plain == to_plain(plan)
    again = rebuilt(plain, type(plan.defense))
    assert again == plan
    assert to_plain(again) == plain  # radii too, as they are written
    assert fingerprint(again) == fingerprint(plan) == plan_fingerprint(plain)


def said(value: Any) -> str:
    """A setting as it is written after --set PATH=."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def settable(plan: Plan) -> dict[str, str]:
    """The text of each setting that is a value and no kind of settings."""
    own = {path: each for path, each in leaves(to_plain(plan)) if path.partition(".")[0] not in ("data", "name")}
    return {
        path: said(each) for path, each in own.items()
        if "." in path and type(value(plan, path)).__module__ in ("builtins", "robench_fire.quantity")
    }  # fmt: skip


@given(plans(), plans(), st.data())
def test_a_setting_that_is_said_is_the_one_that_is_had(plan: Plan, other: Plan, data: st.DataObject) -> None:
    texts = settable(plan)
    path = data.draw(st.sampled_from(sorted({*texts} & {*settable(other)} or texts)))
    assert to_plain(override(plan, path, texts[path])) == to_plain(plan)
    try:
        moved = override(other, path, f" {texts[path]} ".strip())
    except RecipeError:  # the other plan has no such setting, or none of this value
        assume(False)
    assert (value(moved, path), str(value(moved, path))) == (value(plan, path), str(value(plan, path)))
