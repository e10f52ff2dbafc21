"""BibTeX of a table: every paper once, its authors and its venue."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from measured_entries import BOARD, MNIST, ours

from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import Entry, published
from robench_fire.tables.formats import bibtex, citations
from robench_fire.tables.render import render


class Cited(dict[str, str]):
    """The fields of a BibTeX entry."""

    def __init__(self, kind: str, key: str, body: str) -> None:
        super().__init__(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
        self.kind, self.key = kind, key
        assert len(self) == body.count("\n") - 1  # nothing but fields, each on a line of its own
        assert all(value.count("{") == value.count("}") for value in self.values())


def cited(entries: list[Entry]) -> dict[str, Cited]:
    found = [Cited(*each) for each in re.findall(r"@(\w+)\{(.*?),(\n(?:  .*\n)+)\}(?:\n|$)", bibtex(entries))]
    assert len({each.key for each in found}) == len(found) == bibtex(entries).count("@")
    return {each.key: each for each in found}


ALL = [*(each for each in published() if each.title != "Standardly trained model"), *BOARD]


def test_every_paper_is_cited_once_by_its_key() -> None:
    found = cited(ALL)
    assert set(found) == {each.key.split("_")[0] for each in ALL}
    assert not any("_" in key for key in found)
    assert sum(key.startswith("Wu2020Adversarial") for key in found) == 1
    for key, each in found.items():
        assert each["title"].startswith("{")
        assert each["url"].startswith("http")
        assert re.fullmatch(r"20\d\d", each["year"]), key


def test_every_author_is_a_name() -> None:
    found = cited(ALL)
    for key, each in found.items():
        for name in each["author"].split(" and "):
            assert name.strip() == name != "", (key, each["author"])
            assert not name.startswith("and "), (key, each["author"])
    shown = {key: each["author"].split(" and ") for key, each in found.items()}
    assert shown["Carmon2019Unlabeled"] == [
        "Yair Carmon", "Aditi Raghunathan", "Ludwig Schmidt", "Percy Liang", "John C. Duchi",
    ]  # fmt: skip
    assert shown["Rade2021Helper"] == ["Rahul Rade", "Seyed-Mohsen Moosavi-Dezfooli"]
    assert shown["Pang2020Boosting"][-1] == "Jun Zhu"
    assert shown["Peng2023Robust"][-2:] == ["Jason Martin", "Duen Horng Chau"]


def test_authors_written_with_the_last_name_first_stay_whole() -> None:
    """RobustBench's files have them as "Kundu, Souvik and Nazemi, Mahdi and ..."."""
    found = cited(ALL)["Kundu2020Tunable"]["author"].split(" and ")
    assert len(found) == 4
    assert all(re.fullmatch(r"[\w ]+, [\w ]+|\w+ [\w ]+", name) for name in found)


@pytest.mark.parametrize(
    ("venue", "kind", "where"),
    [
        ("TPAMI 2022", "article", ("journal", "IEEE Transactions on Pattern Analysis and Machine Intelligence")),
        ("TMLR, Aug 2024", "article", ("journal", "Transactions on Machine Learning Research")),
        ("arXiv, Mar 2021", "article", ("journal", "arXiv")),
        ("arXiv, Dec. 2022", "article", ("journal", "arXiv")),
        ("ICML 2019", "inproceedings", ("booktitle", "ICML")),
        ("NeurIPS 2020", "inproceedings", ("booktitle", "NeurIPS")),
        ("Unpublished", "misc", ("note", "Unpublished")),
    ],
)
def test_a_venue_says_what_kind_of_paper_it_is(venue: str, kind: str, where: tuple[str, str]) -> None:
    (found,) = cited([replace(ours(), venue=venue)]).values()
    assert found.kind == kind
    assert where in found.items()
    assert found.get("year", "") == next(iter(re.findall(r"\d{4}", venue)), "")
    assert len({"journal", "booktitle", "note"} & set(found)) == 1


def test_nobody_is_cited_without_authors() -> None:
    assert bibtex([replace(ours(), authors="")]) == ""


def test_bibtex_of_a_table_holds_the_published_papers_too() -> None:
    assert list(cited([ours()])) == ["Picot2021Adversarial"]
    text = render([ours(dataset="mnist", eps="0.3")], "bibtex", shown=Shown(published=True))
    assert re.findall(r"@\w+{(\w+)", text) == sorted([*MNIST, "Picot2021Adversarial"])


def test_two_papers_under_one_key_are_both_cited() -> None:
    papers = [{"title": title, "authors": "A. Author et al."} for title in ("One", "Other")]
    entries = [replace(ours(), key=f"Mine2026_v{number}", link="", **paper) for number, paper in enumerate(papers)]
    assert citations(entries) == ["Mine2026_v0", "Mine2026_v1"]
    found = bibtex(entries)
    assert re.findall(r"@\w+{(\w+)", found) == ["Mine2026_v0", "Mine2026_v1"]
    assert "author = {A. Author and others}" in found
    models = [replace(ours(), key=key) for key in ("Picot2021Adversarial", "Picot2021Adversarial_SA")]
    assert citations(models) == ["Picot2021Adversarial"] * 2
    frame = pd.read_csv(io.StringIO(render(models, "csv", shown=Shown(published=True))))
    assert set(frame["citation"].dropna()) == set(
        re.findall(r"@\w+{(.*?),", render(models, "bibtex", shown=Shown(published=True)))
    )
