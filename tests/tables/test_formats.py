"""Every format as its reader needs it: Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from measured_entries import BOLD, FIRE, one, ours

from robench_fire.boards.model_info import to_model_info
from robench_fire.errors import UsageError
from robench_fire.tables.columns import Shown
from robench_fire.tables.formats import tex
from robench_fire.tables.render import render


def test_bold_in_markdown() -> None:
    text = render([ours("A", 50.0, 80.0), ours("B", 50.5, 90.0), ours("C", 40.0, 70.0)], "md")
    rows = {line.split(" | ")[1]: line for line in text.splitlines() if "±" in line}
    assert "| 80.00 ± 1.27 | **50.00 ± 1.27** | 65.00 ± 1.27 | 5 |" in rows["A"]
    assert "| **90.00 ± 1.27** | **50.50 ± 1.27** | **70.25 ± 1.27** | 5 |" in rows["B"]
    assert "**" not in rows["C"]
    assert "**" not in render([ours()], "md").split("\n", 1)[1]


def test_markdown_has_a_title_a_rule_and_its_notes() -> None:
    lines = render([ours("A", unfinished=(3,)), ours("B")], "md", shown=Shown(published=True)).splitlines()
    assert lines[0] == "**cifar10, Linf, eps 8/255, 300 test images**"
    assert lines[2].startswith("| # | Method | Architecture | Clean |")
    assert lines[3].startswith("| ---: | --- | --- | ---: |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    (marked,) = [line for line in lines if "| A (ours) [" in line]
    number = marked.split("[")[1].split("]")[0]
    assert f"[{number}] Seed 3 not trained to the end, or not evaluated alike.  " in lines
    stated = "99 entries are published figures (RobustBench model_info of 2025-03-31)"
    assert any(line.startswith(stated) for line in lines)


def test_what_all_rows_share_is_said_once() -> None:
    short = {seed: {"clean": 80.0, "robust": 40.0, "train_seconds": 1.0} for seed in range(3)}
    table = one(ours("A", per_seed=short, unfinished=(3,)), ours("B", per_seed=short))
    assert table.remarks == ["Every row: 3 of 5 seeds.", BOLD]
    assert (table.notes, table.marks) == (["Seed 3 not trained to the end, or not evaluated alike."], [[1], []])
    beside_others = one(ours("A", per_seed=short), ours("B", per_seed=short), shown=Shown(published=True))
    assert beside_others.remarks[0] == "Every row of ours: 3 of 5 seeds."
    assert render([ours("A", per_seed=short), ours("B", per_seed=short)], "html").count("3 of 5 seeds.") == 1
    alone = one(ours("A", per_seed=short))
    assert (alone.notes, alone.marks, alone.remarks) == (["3 of 5 seeds."], [[1]], [])


def test_what_ours_share_is_still_marked_in_published_entries() -> None:
    table = one(*(ours(name, eps="0.031") for name in "AB"), shown=Shown(published=True))
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
    text = render(entries, "latex", shown=Shown(published=True))
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


TOKENS = r"\\[&%#_${}]|\\text[a-z]+{}|\$\\[a-z]+(?:_(?:\\infty|2))?\$|\$\^2\$"


SPECIAL = set("&%#_${}^~\\±–ℓ≈×≤ε∞αβλθσ²·") - {"ℓ"}


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
     ("≈ 8/255", r"$\approx$ 8/255"), ("–", "--"), ("FIRE [1]", "FIRE [1]"),
     ("λ = 12, θ²", r"$\lambda$ = 12, $\theta$$^2$")],
)  # fmt: skip
def test_signs_as_latex(text: str, expected: str) -> None:
    assert tex(text) == expected


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    entries = [ours("A & B", unfinished=(3,)), ours("C", architecture=AWKWARD), ours("D", eps="0.3", dataset="mnist")]
    text = render(entries, "latex", shown=Shown(paper=True, published=True))
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{text}\n\\end{{document}}\n"
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "board.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "multiply-defined" not in ran.stdout


def test_latex_is_labelled_by_what_was_measured_here() -> None:
    labels = [
        re.findall(r"label{(.*?)}", render([ours()], "latex", shown=Shown(published=asked))) for asked in (False, True)
    ]
    assert labels[0] == labels[1] == ["tab:cifar10-Linf-8-255-300"]


def test_columns_and_caption_are_the_users() -> None:
    shown = Shown(names=("autoattack", "Method", "fgsm"), caption="Two methods")
    text = render([ours("A", 50.0, 80.0), ours("B", 40.0, 70.0)], "latex", shown)
    assert r"\caption{Two methods}" in text
    assert r"\begin{tabular}{rlr}" in text
    assert r"AutoAttack & Method & FGSM \\" in text
    assert r"\textbf{50.00 $\pm$ 1.27} & A & -- \\" in text
    with pytest.raises(UsageError, match="unknown column 'autoatack': did you mean AutoAttack"):
        render([ours()], "md", Shown(names=("autoatack",)))


def test_csv_holds_numbers() -> None:
    entries = [ours("A", 50.5, 80.123456), ours("B", 40.0, attack="pgd20", pgd20={0: 41.0, 1: 43.0})]
    frame = pd.read_csv(io.StringIO(render(entries, "csv", shown=Shown(published=True))))
    assert len(frame) == 2 + 99 + 8
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
    assert ",300," in render(entries, "csv", shown=Shown(published=True))
    assert "300.0" not in render(entries, "csv", shown=Shown(published=True))


ROBUSTBENCH = {"link", "name", "authors", "additional_data", "dataset", "venue", "architecture", "eps", "clean_acc",
               "autoattack_acc", "external", "unreliable", "footnote", "reported", "number_forward_passes"}  # fmt: skip


def leaves(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inner is None else [leaf for each in inner for leaf in leaves(each)]


def test_json_is_robustbenchs() -> None:
    mine = ours()
    assert mine.row is not None
    first, *theirs = json.loads(render([mine], "json", shown=Shown(published=True)))["rows"]
    assert first == json.loads(json.dumps(to_model_info(mine.row)))
    assert len(theirs) == 99 + 8
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


def test_a_page_may_leave_out_the_method() -> None:
    text = render([ours("A"), ours("B")], "html", Shown(names=("Clean",)))
    assert "<table" in text
