"""Tables of our entries, and of ours among published ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pages import MEASURED, OTHERS, one

from robench_fire.tables import table as table_module
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import REEVALUATED
from robench_fire.tables.table import Table, tables


@pytest.fixture(scope="module")
def board() -> Table:
    """Entries of ours alone."""
    (found,) = tables(MEASURED)
    return found


@pytest.fixture(scope="module")
def mixed() -> Table:
    """Entries of ours, published ones and one of published weights that were evaluated here."""
    again = replace(OTHERS[1], origin=REEVALUATED, key="Again2020", method="Again2020", examples=300, clean=one(88.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_module, "beside", lambda entries: OTHERS)
        (found,) = tables([*MEASURED, again], shown=Shown(published=True))
    return found
