"""Tables: what is ranked among what, what is bold, and every format as its reader needs it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import REEVALUATED, Entry, entries_in, of_row, published
from robench_fire.tables.formats import bibtex, citations, tex
from robench_fire.tables.model_info import to_model_info
from robench_fire.tables.render import render, show
from robench_fire.tables.table import Table, best, tables

BOARDS = Path(__file__).parent.parent / "leaderboards"
BOARD = entries_in([BOARDS / "digits" / "Linf"])
FIRE = next(each.row for each in BOARD if each.method == "FIRE" and each.row)
SPREAD = [-1.5, 1.5, 0.0, -1.0, 1.0]
MNIST = {"Gowal2020Uncovering": 1, "Zhang2019Theoretically": 2, "Atzmon2019Controlling": 3, "Madry2018Towards": 4,
         "Wong2020Fast": 5}  # fmt: skip


BOLD = "Bold: the best of a column, and what cannot be told from it (Welch's t-test over seeds, 5 %)."


def ours(method: str = "FIRE", robust: float = 50.0, clean: float = 85.0, dataset: str = "cifar10", eps: str = "8/255",
         spread: list[float] = SPREAD, **changes: Any) -> Entry:  # fmt: skip
    """An entry of ours with these means over its seeds."""
    plan = FIRE.plan | {"dataset": dataset, "threat": FIRE.plan["threat"] | {"eps": eps}}
    values = [{"clean": clean + each, "robust": robust + each, "train_seconds": 60.0} for each in spread]
    paper = FIRE.paper | {"method": method}
    about = {"plan": plan, "eps": eps, "per_seed": dict(enumerate(values)), "paper": paper} | changes
    return of_row(replace(FIRE, **about))


def one(*entries: Entry, **asked: Any) -> Table:
    (found,) = tables(entries, **asked)
    return found


def ranks(found: Table) -> dict[str, int]:
    return {each.method: rank for each, rank in zip(found.entries, found.ranks, strict=True)}


def column(found: Table, name: str) -> dict[str, str]:
    """The texts of a column, by method."""
    place = found.columns.index(name)
    return {each.method: cells[place] for each, cells in zip(found.entries, found.cells, strict=True)}


def mnist(method: str, robust: float, **changes: Any) -> Entry:
    return ours(method, robust, 99.2, "mnist", "0.3", [0.0] * 5, **changes)


def test_ours_take_the_rank_that_they_would_have_among_the_published() -> None:
    found = one(mnist("A", 94.44), mnist("B", 95.0), mnist("C", 99.0), mnist("D", 80.0), published=True)
    assert ranks(found) == {**MNIST, "A": 2, "B": 2, "C": 1, "D": 6}
    assert [each.method for each in found.entries] == [
        "C", "Gowal2020Uncovering", "B", "A", "Zhang2019Theoretically", "Atzmon2019Controlling", "Madry2018Towards",
        "Wong2020Fast", "D",
    ]  # fmt: skip
    assert column(found, "Method")["B"] == "B (ours)"
    assert column(found, "Method")["Wong2020Fast"] == "Wong2020Fast"
    bold, remark = found.remarks
    assert bold == BOLD
    assert remark.startswith("5 entries are published figures (AutoAttack README)")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(60, 100), min_size=1, max_size=4))
def test_no_entry_of_ours_moves_another(values: list[float]) -> None:
    found = one(*(mnist(f"ours {number}", value) for number, value in enumerate(values)), published=True)
    theirs = [each.score for each in published() if each.dataset == "mnist"]
    expected = {f"ours {number}": 1 + sum(each > of.score for each in theirs)
                for number, of in enumerate(mnist("", value) for value in values)}  # fmt: skip
    assert ranks(found) == {**MNIST, **expected}


def test_a_published_value_that_ours_equals_is_not_above_it() -> None:
    assert ranks(one(mnist("A", 92.81), published=True))["A"] == 2


def test_published_rows_are_ranked_by_the_best_known_robust_accuracy() -> None:
    found = one(ours(robust=10.0), published=True)
    assert found.entries[0].score == max(each.score for each in found.entries)
    scores = [each.score for each in found.entries]
    assert scores == sorted(scores, reverse=True)
    place = {each.key: number for number, each in enumerate(found.entries)}
    assert found.entries[place["Xiao2020Enhancing"]].robust == MeanStd(18.5, None, 1)  # and 7.40 by a stronger attack
    assert place["Xiao2020Enhancing"] == place["Picot2021Adversarial"] + 1
    assert ranks(found)["FIRE"] == 1 + sum(each > 10 for each in scores)


def test_without_published_rows_ranks_are_places() -> None:
    found = one(ours("A", 50.0, spread=[0.0] * 5), ours("B", 52.0), ours("C", 50.0, spread=[0.0] * 5), ours("D", 40.0))
    assert ranks(found) == {"B": 1, "A": 2, "C": 2, "D": 4}
    assert found.remarks == [BOLD]
    assert column(found, "Method") == {name: name for name in "ABCD"}


def test_what_was_not_attacked_by_autoattack_comes_last() -> None:
    found = one(ours("A", 90.0, attack="pgd20"), ours("B", 20.0))
    assert ranks(found) == {"B": 1, "A": 2}
    assert column(found, "AutoAttack")["A"] == column(found, "Average")["A"] == "–"
    assert "PGD-20" in found.columns
    assert "PGD-20" not in one(ours("B")).columns
    assert ranks(one(mnist("A", 99.0, attack="pgd20"), published=True))["A"] == 6


def test_only_entries_of_one_setting_share_a_table() -> None:
    settings: list[dict[str, Any]] = [
        {}, {"dataset": "cifar100"}, {"eps": "0.031"}, {"examples": 1000}, {"evaluation_seed": 3},
        {"norm": "L2", "eps": "0.5"},
    ]  # fmt: skip
    given = [ours(method, **each) for each in settings for method in "AB"]
    found = list(tables(given))
    assert [sorted(each.method for each in table.entries) for table in found] == [["A", "B"]] * len(settings)
    assert [table.title for table in found] == [
        "cifar10, L2, eps 0.5, 300 test images",
        "cifar10, Linf, eps 0.031, 300 test images",
        "cifar10, Linf, eps 8/255, 300 test images",
        "cifar10, Linf, eps 8/255, 300 test images, evaluation seed 3",
        "cifar10, Linf, eps 8/255, 1,000 test images",
        "cifar100, Linf, eps 8/255, 300 test images",
    ]
    assert [table.title for table in tables(given[::-1])] == [table.title for table in found]
    assert list(tables([])) == []


def test_published_rows_join_every_table_that_they_compare_with() -> None:
    mine = [ours(), ours(eps="0.031"), ours(eps="2/255"), ours(dataset="digits", eps="0.2")]
    found = list(tables(mine, published=True))
    assert [len(table.entries) for table in found] == [100, 1, 100, 1]


def test_weights_of_robustbench_evaluated_here_are_ranked_as_ours() -> None:
    again = replace(mnist("Again", 95.0), origin=REEVALUATED, row=None)
    found = one(again, mnist("A", 94.0), published=True)
    assert ranks(found) == {**MNIST, "Again": 2, "A": 2}
    assert column(found, "Method")["Again"].startswith("Again")
    assert "(ours)" not in column(found, "Method")["Again"]
    assert column(found, "Seeds") == {**dict.fromkeys(MNIST, "–"), "Again": "–", "A": "5"}


def test_the_best_and_those_within_noise_of_it_are_best() -> None:
    found = one(ours("A", 50.0, 80.0), ours("B", 50.5, 90.0), ours("C", 40.0, 89.8))
    assert dict(zip("BAC", found.best, strict=True)) == {
        "B": {"AutoAttack", "Clean", "Average"}, "A": {"AutoAttack"}, "C": {"Clean"},
    }  # fmt: skip


def test_of_values_without_spread_only_those_that_look_the_same_are_best() -> None:
    again = replace(mnist("Again", 92.814), origin=REEVALUATED, row=None)
    entries = [again, *(each for each in published() if each.dataset == "mnist" and each.key != "Gowal2020Uncovering")]
    found = dict(zip((each.method for each in entries), best(entries), strict=True))
    assert found["Again"] >= {"AutoAttack"} <= found["Zhang2019Theoretically"]
    assert "Clean" not in found["Again"]
    assert [name for name, each in found.items() if "Clean" in each] == ["Zhang2019Theoretically"]


def test_what_is_not_to_be_believed_is_not_best() -> None:
    again = replace(ours("Again", 60.0), origin=REEVALUATED, row=None)
    entries = [again, ours("A", 50.0), ours("B", 40.0)]
    assert ["AutoAttack" in each for each in best(entries)] == [True, False, False]
    doubts: list[dict[str, Any]] = [{"best_known": 1.0}, {"unreliable": True}]
    for doubt in doubts:
        entries[0] = replace(again, **doubt)
        assert [each & {"AutoAttack", "Average"} for each in best(entries)] == [set(), {"AutoAttack", "Average"}, set()]
        assert "Clean" in best(entries)[0]


def test_a_single_value_is_never_best() -> None:
    assert one(ours()).best == [set()]
    found = one(ours("A"), ours("B", 20.0, attack="pgd20"))
    assert found.best == [{"Clean"}, {"Clean"}]


def test_bold_in_markdown() -> None:
    text = render([ours("A", 50.0, 80.0), ours("B", 50.5, 90.0), ours("C", 40.0, 70.0)], "md")
    rows = {line.split(" | ")[1]: line for line in text.splitlines() if "±" in line}
    assert "| 80.00 ± 1.27 | **50.00 ± 1.27** | 65.00 ± 1.27 | 5 |" in rows["A"]
    assert "| **90.00 ± 1.27** | **50.50 ± 1.27** | **70.25 ± 1.27** | 5 |" in rows["B"]
    assert "**" not in rows["C"]
    assert "**" not in render([ours()], "md").split("\n", 1)[1]


def test_markdown_has_a_title_a_rule_and_its_notes() -> None:
    lines = render([ours("A", unfinished=(3,)), ours("B")], "md", published=True).splitlines()
    assert lines[0] == "**cifar10, Linf, eps 8/255, 300 test images**"
    assert lines[2].startswith("| # | Method | Architecture | Clean |")
    assert lines[3].startswith("| ---: | --- | --- | ---: |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    (marked,) = [line for line in lines if "| A (ours) [" in line]
    number = marked.split("[")[1].split("]")[0]
    assert f"[{number}] Seed 3 not finished.  " in lines
    assert any(
        line.startswith("99 entries are published figures (RobustBench model_info of 2025-03-31)") for line in lines
    )


def test_what_all_rows_share_is_said_once() -> None:
    short = {seed: {"clean": 80.0, "robust": 40.0, "train_seconds": 1.0} for seed in range(3)}
    table = one(ours("A", per_seed=short, unfinished=(3,)), ours("B", per_seed=short))
    assert table.remarks == ["Every row: 3 of 5 seeds.", BOLD]
    assert (table.notes, table.marks) == (["Seed 3 not finished."], [[1], []])
    beside_others = one(ours("A", per_seed=short), ours("B", per_seed=short), published=True)
    assert beside_others.remarks[0] == "Every row of ours: 3 of 5 seeds."
    assert render([ours("A", per_seed=short), ours("B", per_seed=short)], "html").count("3 of 5 seeds.") == 1
    alone = one(ours("A", per_seed=short))
    assert (alone.notes, alone.marks, alone.remarks) == (["3 of 5 seeds."], [[1]], [])


def test_what_ours_share_is_still_marked_in_published_entries() -> None:
    table = one(*(ours(name, eps="0.031") for name in "AB"), published=True)
    assert any("0.031" in remark for remark in table.remarks)
    theirs = next(n for n, entry in enumerate(table.entries) if entry.key == "Zhang2019Theoretically")
    assert any("0.031" in table.notes[mark - 1] for mark in table.marks[theirs])
    mine = next(n for n, entry in enumerate(table.entries) if entry.method == "A")
    assert not any("0.031" in table.notes[mark - 1] for mark in table.marks[mine])


def test_bold_in_latex() -> None:
    text = render([ours("A", 50.0, 80.0), ours("B", 50.5, 90.0), ours("C", 40.0, 70.0)], "latex")
    assert r" & 80.00 $\pm$ 1.27 & \textbf{50.00 $\pm$ 1.27} & 65.00 $\pm$ 1.27 & 5 & " in text
    assert text.count(r"\textbf{") == 4
    assert r"\textbf" not in render([ours()], "latex")


AWKWARD = "100% & #1 _under_ $5 {x} ^ ~ \\ ± ℓ∞ ≈ ε"


def test_latex_is_a_booktabs_table_with_its_notes_inside() -> None:
    entries = [ours("A & B", unfinished=(3,)), ours("C", architecture=AWKWARD),
               ours("D", eps="0.3", dataset="mnist", unfinished=(4,))]  # fmt: skip
    text = render(entries, "latex", published=True)
    each = text.split("\\end{table}\n")
    assert len(each) == 2
    for part in (each[0], each[1].removesuffix("\\end{table}")):
        order = ["\\begin{table}[t]\n\\centering", "\\caption{", "\\label{tab:", "\\begin{tabular}{", "\\toprule",
                 "\\midrule", "\\bottomrule", "\\end{tabular}", "{\\footnotesize\n\\par [1] "]  # fmt: skip
        places = [part.index(word) for word in order]
        assert places == sorted(places)
        rows = part.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
        columns = re.search(r"\\begin{tabular}{([lr]+)}", part)
        assert columns is not None
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns[1]) - 1}
        assert all(row.endswith(r" \\") for row in rows)
        assert part.rstrip().endswith("}")
        assert part.count("{") == part.count("}")
    assert text.isascii()
    assert r"A \& B (ours)" in text
    assert tex(AWKWARD) in text


def test_latex_labels_of_several_tables_differ() -> None:
    entries = [ours(), ours(eps="0.031"), ours(examples=1000), ours(evaluation_seed=1), ours(dataset="cifar100")]
    labels = re.findall(r"\\label{(.*?)}", render(entries, "latex"))
    assert len(set(labels)) == len(labels) == 5


TOKENS = r"\\[&%#_${}]|\\text[a-z]+{}|\$\\[a-z]+(?:_(?:\\infty|2))?\$"  # what tex may write that holds a special sign
SPECIAL = set("&%#_${}^~\\±–ℓ≈×≤ε∞") - {"ℓ"}


@settings(deadline=None)
@given(st.text(st.sampled_from("&%#_${}^~\\±–ℓ∞2≈×≤ε a1é-")) | st.text())
@example(AWKWARD)
@example("\\&")
@example("ℓ∞ℓ2∞")
@example("$±$")
def test_no_special_sign_is_left_bare(text: str) -> None:
    left = re.sub(TOKENS, "", tex(text))
    assert not SPECIAL & set(left)
    ordinary = [sign for sign in text if sign not in SPECIAL]
    assert [sign for sign in left if sign not in "-ℓ2"] == [sign for sign in ordinary if sign not in "-ℓ2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50% & more", r"50\% \& more"), ("a_b#1", r"a\_b\#1"), ("{$}", r"\{\$\}"), ("\\", r"\textbackslash{}"),
     ("^~", r"\textasciicircum{}\textasciitilde{}"), ("1 ± 2", r"1 $\pm$ 2"), ("ℓ∞ = 0.031", r"$\ell_\infty$ = 0.031"),
     ("≈ 8/255", r"$\approx$ 8/255"), ("–", "--"), ("FIRE [1]", "FIRE [1]")],
)  # fmt: skip
def test_signs_as_latex(text: str, expected: str) -> None:
    assert tex(text) == expected


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    entries = [ours("A & B", unfinished=(3,)), ours("C", architecture=AWKWARD), ours("D", eps="0.3", dataset="mnist")]
    text = render(entries, "latex", paper=True, published=True)
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "board.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "multiply-defined" not in ran.stdout


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
    text = render([ours(dataset="mnist", eps="0.3")], "bibtex", published=True)
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
    frame = pd.read_csv(io.StringIO(render(models, "csv", published=True)))
    assert set(frame["citation"].dropna()) == set(re.findall(r"@\w+{(.*?),", render(models, "bibtex", published=True)))


def test_latex_is_labelled_by_what_was_measured_here() -> None:
    labels = [re.findall(r"label{(.*?)}", render([ours()], "latex", published=asked)) for asked in (False, True)]
    assert labels[0] == labels[1] == ["tab:cifar10-Linf-8-255-300"]


def test_csv_holds_numbers() -> None:
    entries = [ours("A", 50.5, 80.123456), ours("B", 40.0, attack="pgd20", pgd20={0: 41.0, 1: 43.0})]
    frame = pd.read_csv(io.StringIO(render(entries, "csv", published=True)))
    assert len(frame) == 2 + 99
    mine, quick, theirs = (frame[frame["method"] == name].iloc[0] for name in ("A", "B", "Zhang2019Theoretically"))
    assert mine["clean_mean"] == pytest.approx(80.123456, abs=5e-5)
    assert (mine["autoattack_mean"], mine["train_seconds_mean"], mine["seeds"]) == (50.5, 60.0, 5)
    assert mine["autoattack_std"] == pytest.approx(1.2748, abs=1e-4)
    assert mine["average_mean"] == pytest.approx((50.5 + 80.123456) / 2, abs=5e-5)
    assert (mine["origin"], mine["eps"], mine["examples"]) == ("ours", "8/255", 300)
    assert mine["fingerprint"] == FIRE.fingerprint
    assert quick[["autoattack_mean", "average_mean"]].isna().all()
    assert quick["pgd20_mean"] == 42.0
    assert (theirs["clean_mean"], theirs["autoattack_mean"], theirs["eps"]) == (84.92, 53.08, "0.031")
    assert theirs[["clean_std", "autoattack_std", "seeds", "examples"]].isna().all()
    assert frame["autoattack_mean"].dtype == frame["best_known"].dtype == float
    assert ",300," in render(entries, "csv", published=True)
    assert "300.0" not in render(entries, "csv", published=True)


ROBUSTBENCH = {"link", "name", "authors", "additional_data", "dataset", "venue", "architecture", "eps", "clean_acc",
               "autoattack_acc", "external", "unreliable", "footnote", "reported", "number_forward_passes"}  # fmt: skip


def leaves(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inner is None else [leaf for each in inner for leaf in leaves(each)]


def test_json_is_robustbenchs() -> None:
    mine = ours()
    assert mine.row is not None
    first, *theirs = json.loads(render([mine], "json", published=True))["rows"]
    assert first == json.loads(json.dumps(to_model_info(mine.row)))
    assert len(theirs) == 99
    for each in theirs:
        assert None not in leaves(each)
        assert set(each) <= ROBUSTBENCH | {"robench_fire"}
        assert {"clean_acc", "autoattack_acc", "eps", "link", "name"} <= set(each)
        assert all(isinstance(each[name], str) for name in ("clean_acc", "autoattack_acc", "eps"))
        assert isinstance(each["additional_data"], bool)
    trades = next(each for each in theirs if each["robench_fire"]["key"] == "Zhang2019Theoretically")
    assert (trades["clean_acc"], trades["autoattack_acc"], trades["eps"]) == ("84.92", "53.08", "0.031")
    assert trades["footnote"] == "Eps 0.031 ≈ 7.9/255."
    weak = next(each for each in theirs if each["robench_fire"]["key"] == "Xiao2020Enhancing")
    assert (weak["external"], weak["unreliable"]) == ("7.40", True)


def drawn(entries: list[Entry], width: int, piped: bool = False, **asked: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=not piped, color_system=None, highlight=False)
    show(entries, "terminal", console, **asked)
    return re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def lines_of(text: str, table: Table) -> list[str]:
    """The lines below the heading's rule, as many as there are rows, each with its method."""
    lines = text.splitlines()[3 : 3 + len(table.cells)]
    assert all(cells[1] in line for cells, line in zip(table.cells, lines, strict=True))
    return lines


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize(
    "asked", [{}, {"paper": True}, {"published": True}, {"cost": True}, {"paper": True, "cost": True}]
)
@pytest.mark.parametrize("board", ["digits", "cifar10"])
def test_a_row_is_one_line_and_nothing_is_cut(width: int, asked: dict[str, bool], board: str) -> None:
    entries = entries_in([BOARDS / board / "Linf"])
    found = one(*entries, **asked)
    text = drawn(entries, width, **asked)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    rows = lines_of(text, found)
    assert len(rows) == len(found.entries)
    shown = [name for name in found.columns if name.split()[0] in text.splitlines()[1]]
    left_out = re.search(r"Left out at \d+ columns: (.*?);", re.sub(r"\s+", " ", text))
    assert set(found.columns) == set(shown) | set(left_out[1].split(", ") if left_out else [])
    for cells, row in zip(found.cells, rows, strict=True):
        for name, cell in zip(found.columns, cells, strict=True):
            if name in shown and name != "Architecture":
                assert cell in row
        assert not re.search(r"±\s*$", row)
    for note in [*found.notes, *found.remarks]:
        assert re.sub(r"\s", "", note) in re.sub(r"\s", "", text)


def test_columns_go_in_the_stated_order_and_all_show_if_asked_for() -> None:
    found = one(*BOARD)
    assert "Train time" not in drawn(BOARD, 100).splitlines()[1]
    for text in (drawn(BOARD, 80, wide=True), drawn(BOARD, 80, piped=True), drawn(BOARD, 200)):
        assert all(column in text.splitlines()[1] for column in found.columns)
        assert "Left out" not in text
    assert "robench table --wide" in drawn(BOARD, 80)


@pytest.mark.parametrize(
    ("name", "short"),
    [("WideResNet-34-10", "WRN-34-10"), ("PreActResNet-18", "PRN-18"), ("ResNet-18", "RN-18"),
     ("RaWideResNet-70-16", "RaWRN-70-16"), ("DigitsCNN", "DigitsCNN")],
)  # fmt: skip
def test_architectures_are_abbreviated_on_a_terminal(name: str, short: str) -> None:
    given = [replace(ours("FIRE", 50.0), architecture=name), replace(ours("MART", 51.0), architecture=name)]
    assert f" {short} " in drawn(given, 100)
    assert name in render(given, "md")


def test_rows_that_would_read_the_same_say_what_differs() -> None:
    one_, two = ours("FIRE", 50.0), ours("FIRE", 52.0)
    assert one_.row is not None
    plan = {**one_.row.plan, "recipe": {**one_.row.plan["recipe"], "batch_size": 64}}
    found = one(one_, replace(two, row=replace(one_.row, plan=plan)))
    said = sorted(found.notes[mark - 1] for marks in found.marks for mark in marks)
    assert said == ["This FIRE: recipe.batch_size 128.", "This FIRE: recipe.batch_size 64."]
    assert one(one_, ours("MART", 52.0)).notes == []
