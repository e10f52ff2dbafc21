"""Published figures from a newer RobustBench: what is read, what is said of it, and where it is kept."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from repository import BOARDS

from robench_fire.cli import main
from robench_fire.errors import DataError
from robench_fire.tables import published_rows
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import entries_in, published, shipped
from robench_fire.tables.render import render

SHIPPED = published_rows.in_use()
BOARD = BOARDS / "cifar10"
NEW: dict[str, Any] = {
    "link": "https://arxiv.org/abs/2601.00000", "name": "  Robust at Last ", "authors": "A. Author, B. Author",
    "additional_data": False, "number_forward_passes": 1, "dataset": "cifar10", "venue": "arXiv,<br>Jan 2026",
    "architecture": "WideResNet-28-10", "eps": "8/255", "clean_acc": "95.00", "reported": "",
    "footnote": "It uses additional 50M synthetic images in training.", "autoattack_acc": "80.00", "unreliable": False,
}  # fmt: skip


def robench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["robench", *words])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def write(place: str = "cifar10/Linf/Author2026Robust", **changes: Any) -> Path:
    """A file of a checkout of RobustBench."""
    path = Path("robustbench", "model_info", f"{place}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(NEW | {"dataset": place.split("/")[0]} | changes), encoding="utf-8")
    return path


def keys(dataset: str = "cifar10", norm: str = "Linf") -> list[str]:
    return [each.key for each in published() if (each.dataset, each.norm) == (dataset, norm)]


def test_a_checkout_replaces_the_boards_that_it_holds() -> None:
    write()
    write("cifar10/L2/Author2026Robust", eps="0.5")
    write("cifar10/corruptions/Author2026Robust", eps=None, corruptions_acc="90.00")
    assert len(published_rows.update(Path("robustbench"))) == 2
    assert keys() == keys(norm="L2") == ["Author2026Robust"]
    assert keys("cifar100") == [each["key"] for each in SHIPPED if each["dataset"] == "cifar100"]
    assert len(keys("mnist")) == 5
    assert "Author2026Robust" not in {each.key for each in shipped()}  # by which a bundle is ranked


def test_a_single_file_adds_or_replaces_its_entry() -> None:
    before = keys()
    published_rows.update(write())
    assert keys() == ["Author2026Robust", *before]
    published_rows.update(write(autoattack_acc="81.00"))
    published_rows.update(write("cifar10/Linf/Wong2020Fast", autoattack_acc="43.00"))
    assert sorted(keys()) == sorted(["Author2026Robust", *before])
    scores = {each.key: each.score for each in published() if (each.dataset, each.norm) == ("cifar10", "Linf")}
    assert (scores["Author2026Robust"], scores["Wong2020Fast"]) == (81.0, 43.0)


def test_what_is_read_is_what_the_file_says() -> None:
    (row,) = published_rows.read(write())
    assert row == {
        "dataset": "cifar10", "threat": "Linf", "key": "Author2026Robust", "name": "Robust at Last",
        "link": NEW["link"], "authors": NEW["authors"], "venue": "arXiv, Jan 2026", "architecture": "WideResNet-28-10",
        "additional_data": "false", "eps": "8/255", "clean_acc": "95.00", "autoattack_acc": "80.00", "external": "",
        "reported": "", "unreliable": "false", "note": "50M synthetic images", "source": row["source"],
    }  # fmt: skip
    (row,) = published_rows.read(write(additional_data=True, external="79.00", unreliable=None, authors=""))
    assert [row[name] for name in ("additional_data", "external", "unreliable", "authors")] == ["true", "79.00", "", ""]


def test_the_packages_own_figures_come_out_as_they_went_in() -> None:
    shipped = Path(str(resources.files("robench_fire.tables"))) / "published.csv"
    assert published_rows.update(shipped) == SHIPPED
    assert published_rows.kept().read_bytes() == shipped.read_bytes()


def test_a_csv_of_robustbenchs_own_fields_is_read_too() -> None:
    fields = {"threat": "Linf", "key": "Author2026Robust"} | {name: str(value) for name, value in NEW.items()}
    with open("theirs.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fields)
        table.writeheader()
        table.writerows([fields, fields | {"threat": "corruptions", "eps": "", "autoattack_acc": ""}])
    (row,) = published_rows.read(Path("theirs.csv"))
    assert row | {"source": ""} == published_rows.read(write())[0] | {"source": ""}


@pytest.mark.parametrize(
    ("footnote", "said"),
    [
        (None, ""),
        ("Focuses on fast adversarial training.", ""),
        ("It uses additional ~6M synthetic images in training.", "~6M synthetic images"),
        ("It uses 500K unlabeled images.", "500K unlabeled images"),
        ("Trained with 1M DDPM samples", "1M DDPM images"),
        ("Uses \\(\\ell_{\\infty} \\) = 0.031 ≈ 7.9/255 instead of 8/255.", "eps 0.031 ≈ 7.9/255"),
        ("Uses ensembles of 3 models.", "ensemble of 3 models"),
        ("It uses an ensemble of networks. The robust base classifier uses 50M synthetic images.",
         "50M synthetic images; ensemble of networks"),
        ("It adds an operator to the trained model Wang2023Better_WRN-70-16.", "built on Wang2023Better_WRN-70-16"),
        ("It uses AutoAugment.", "with AutoAugment"),
    ],
)  # fmt: skip
def test_a_footnotes_facts_are_kept_and_its_sentences_are_not(footnote: str | None, said: str) -> None:
    (row,) = published_rows.read(write(footnote=footnote))
    assert row["note"] == said


@pytest.mark.parametrize(
    ("footnote", "said"),
    [
        ("70.10% robust accuracy is due to APGD (both versions) with BPDA.", "70.10 by APGD and BPDA"),
        ("70.10% robust accuracy is given by MALT (Melamed et al., 2024).", "70.10 by MALT"),
        ("70.10% robust accuracy is due to the original evaluation (AutoAttack + MultiTargeted)",
         "70.10 by AutoAttack and MultiTargeted (its authors)"),
        ("70.10% robust accuracy is due to AutoAttack plus transfer APGD", "70.10 by AutoAttack and transfer APGD"),
        ("70.10% robust accuracy is due to something new", "70.10 by a stronger evaluation"),
        ("69.50% robust accuracy is due to APGD with BPDA.", "70.10 by a stronger evaluation"),
        ("", "70.10 by a stronger evaluation"),
    ],
)  # fmt: skip
def test_who_found_less_is_said_with_what_was_found(footnote: str, said: str) -> None:
    (row,) = published_rows.read(write(footnote=footnote, external="70.10"))
    assert row["note"] == said
    (row,) = published_rows.read(write(footnote="", external=NEW["autoattack_acc"]))
    assert row["note"] == ""


def test_no_sentence_of_robustbenchs_comes_with_the_package() -> None:
    phrases = ("It uses", "is due to", "is given by", "instead of", "robust accuracy", "%", "<br>")
    assert not [row["note"] for row in SHIPPED if any(phrase in row["note"] for phrase in phrases)]
    assert max(len(row["note"]) for row in SHIPPED) < 100


def test_the_shipped_figures_hold_what_is_known_of_them() -> None:
    known = {(row["dataset"], row["threat"], row["key"]): row for row in SHIPPED}
    assert ("cifar10", "Linf", "Chen2021Amplitude") not in known  # withdrawn
    assert known["cifar10", "Linf", "Qin2019Adversarial"]["external"] == "52.84"
    assert known["cifar10", "Linf", "Madry2018Towards"]["unreliable"] == ""
    assert sum(row["unreliable"] == "false" for row in SHIPPED) == 18 + 65 + 32 + 30
    assert {row["source"] for row in SHIPPED} == {"RobustBench model_info of 2025-03-31", "AutoAttack README"}


BAD = [
    ({"autoattack_acc": None}, "'autoattack_acc' is a required property"),
    ({"autoattack_acc": 80.0}, "autoattack_acc: 80.0 is not of type 'string'"),
    ({"clean_acc": "95 %"}, "clean_acc: '95 %' does not match"),
    ({"eps": "eight"}, "eps: 'eight' does not match"),
    ({"additional_data": "no"}, "additional_data: 'no' is not of type 'boolean'"),
    ({"external": "?"}, "external: '?' does not match"),
    ({"footnote": 3}, "footnote: 3 is not of type 'string'"),
]


@pytest.mark.parametrize(("changes", "said"), BAD, ids=[next(iter(changes)) for changes, _ in BAD])
def test_a_file_that_is_not_robustbenchs_is_named_and_nothing_is_taken_over(changes: dict[str, Any], said: str) -> None:
    path = write("cifar10/Linf/Bad2026Robust", **changes)
    write()
    with pytest.raises(DataError) as caught:
        published_rows.update(Path("robustbench"))
    assert str(caught.value).startswith(f"not RobustBench's model_info: {path} (")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert published_rows.in_use() == SHIPPED


def test_all_faults_are_in_one_line() -> None:
    for number in range(5):
        write(f"cifar10/Linf/Bad202{number}Robust").write_text("<html>" if number else "[]")
    with pytest.raises(DataError, match=r"Bad2020Robust.json \(not a JSON object\), .*Bad2022.*, and 2 more; nothing"):
        published_rows.read(Path("robustbench"))
    Path("half.csv").write_text("threat,key,dataset\nLinf,Author2026Robust,cifar10\n")
    with pytest.raises(DataError, match=r"half.csv, entry 1 \(.*'link' is a required property"):
        published_rows.read(Path("half.csv"))
    Path("binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"binary.csv cannot be read"):
        published_rows.read(Path("binary.csv"))


def test_where_there_are_no_figures_that_is_said() -> None:
    with pytest.raises(DataError, match="nowhere does not exist; --update reads a checkout"):
        published_rows.read(Path("nowhere"))
    write("cifar10/corruptions/Author2026Robust", eps=None)
    Path("notes.json").write_text("{}")
    for source in ("robustbench", "notes.json"):
        with pytest.raises(DataError, match=rf"{source} has no model_info/<dataset>/<Linf or L2>/<Name>.json"):
            published_rows.read(Path(source))


@pytest.mark.parametrize("text", ["dataset,threat\ncifar10,Linf\n", "", None])
def test_kept_figures_that_were_changed_are_named(text: str | None) -> None:
    published_rows.update(write())
    changed = published_rows.kept().read_text().replace("95.00", "many") if text is None else text
    published_rows.kept().write_text(changed)
    with pytest.raises(DataError, match=r"published.csv has been changed \(.*\); remove it, and update again"):
        published()


def test_figures_that_cannot_be_kept_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("afile").write_text("")
    monkeypatch.setenv("ROBENCH_DATA", "afile")
    with pytest.raises(DataError, match=r"afile/published.csv cannot be written: .*; set ROBENCH_DATA"):
        published_rows.update(write())


def test_a_checkout_is_named_by_its_date_and_anything_else_by_its_name() -> None:
    path = write()
    assert published_rows.read(path.parent)[0]["source"].startswith("RobustBench model_info, Linf as read on 20")
    git = ["git", "-C", "robustbench", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Add", "--date", "2026-01-02T12:00:00Z"]):
        environment = {"GIT_COMMITTER_DATE": "2026-01-02T12:00:00Z", "PATH": "/usr/bin:/bin:/usr/local/bin"}
        subprocess.run([*git, *words], check=True, env=environment)
    assert {each["source"] for each in published_rows.read(Path("robustbench"))} == {
        "RobustBench model_info of 2026-01-02"
    }
    published_rows.update(Path("robustbench"))
    text = render(entries_in([BOARD / "Linf"]), "md", shown=Shown(published=True))
    assert "1 entries are published figures (RobustBench model_info of 2026-01-02), on all test images." in text


def test_the_command_line_updates_and_later_calls_use_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    asked = ("table", str(BOARD), "--published", "--format", "md")
    assert robench(monkeypatch, *asked, "--update", "robustbench/model_info") == 0
    updated, said = capsys.readouterr()
    assert f"1 published figures are now in {published_rows.kept()}" in said
    assert "Author2026Robust" in updated
    assert "Wong2020Fast" not in updated
    assert robench(monkeypatch, *asked) == 0
    assert capsys.readouterr().out == updated
    published_rows.kept().unlink()
    assert robench(monkeypatch, *asked) == 0
    assert "Wong2020Fast" in capsys.readouterr().out
    assert robench(monkeypatch, "table", str(BOARD), "--update", "robustbench") == 2
    assert "--update brings figures for --published; add it" in capsys.readouterr().err


def test_published_figures_need_no_torch() -> None:
    code = "import sys; from robench_fire.tables.entries import published; assert published(); "
    assert subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"]).returncode == 0
