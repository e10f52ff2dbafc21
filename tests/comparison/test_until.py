"""robench compare --until: no more images than it takes, the same ones after a kill, and all of them in the end."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ran
from processes import forked
from repository import DIGITS_BOARD

from robench_fire.boards.rows import collect
from robench_fire.comparison.until import _expected, block_size, points
from robench_fire.comparison.until_text import Known, as_plain, sentence
from robench_fire.errors import UsageError
from robench_fire.evaluation.autoattack.attacked_model import AttackedModel
from robench_fire.evaluation.evaluator import shuffled
from robench_fire.runs.folders import find

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("brief_attacks")]

PGD = "eval.pgd20-Linf-0.2-300-batch15-shuffled"
AA = PGD.replace("pgd20", "aa")
QUICK = "--attack pgd20 --json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FIRE and TRADES, which are much alike, and Standard, which no attack leaves anything of; two seeds."""
    folder = tmp_path_factory.mktemp("trained")
    ran(folder, *"bench digits --defenses fire,trades,standard --seeds 2 --epochs 3 --no-eval --jobs 1".split())
    return folder / "runs"


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path


def until(place: Path, asked: str, methods: str = "fire trades", more: str = QUICK) -> dict[str, Any]:
    found = json.loads(ran(place, *f"compare runs {methods} --until {asked} {more}".split()).stdout)
    assert found["format"] == 1
    return dict(found["until"])


def masks(place: Path, name: str = PGD) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob(f"{name}.npy"))}


def states(place: Path, name: str = PGD) -> dict[str, dict[str, Any]]:
    """What the records hold that no clock decides."""
    read = {path.parent: json.loads(path.read_text())["blocks"] for path in sorted(place.rglob(f"{name}.state"))}
    return {
        str(folder.relative_to(place)): {number: (block["clean"], block["after"]) for number, block in blocks.items()}
        for folder, blocks in read.items()
    }


def evaluate_the_rest(place: Path) -> None:
    for name in ("fire", "trades"):
        ran(place, *f"eval runs/digits/Linf/{name} --attack pgd20 --shuffled --batch-size 15 --jobs 1".split())


def with_a_twin(place: Path) -> str:
    """The plan of TRADES, and another of the same networks, between which there is no difference to be found."""
    (own,) = (place / "runs/digits/Linf/trades").iterdir()
    shutil.copytree(own, own.with_name("twin"))
    return f"{own.name} twin"


def test_it_stops_where_the_sign_is_decided(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ran(place, *"compare runs fire standard --until 0.5".split()).stdout
    assert "points above Standard on AutoAttack at Linf 0.2 (95 % at any time: " in said
    assert "2 seeds): which of them is above is decided." in said
    assert "`robench eval FOLDER --attack aa --shuffled --batch-size 15 --norm Linf --eps 0.2` of each goes on" in said
    assert len(states(place, AA)) == 4
    assert not list(place.rglob("eval.*.json"))
    with monkeypatch.context() as patch:  # what is done is not done again
        patch.delattr(AttackedModel, "stand")
        found = until(place, "0.5", "fire standard", "--json")
    assert found["sentence"] == said.strip().replace("\n", " ")
    assert found["stopped_by"] == "sign"
    assert found["interval"][0] > 0
    assert 15 <= found["used"] <= 150
    assert found["seconds_saved"] > 0
    blocks = {len(each) for each in states(place, AA).values()}
    assert blocks == {found["used"] / 15}
    back = until(place, "0.5", "standard fire", "--json")
    assert back["interval"] == pytest.approx([-each for each in reversed(found["interval"])], abs=1e-3)


def test_it_goes_on_from_a_coarse_answer_to_all_images(place: Path) -> None:
    coarse = until(place, "20")
    assert coarse["stopped_by"] == "precision"
    assert coarse["half_width"] <= 20
    fine = until(place, "6")
    assert coarse["used"] < fine["used"] < 300
    assert fine["interval"][0] >= coarse["interval"][0]
    assert fine["interval"][1] <= coarse["interval"][1]
    again = until(place, "20")
    assert again["used"] == fine["used"]  # what is known is not forgotten
    almost = until(place, "0.001")
    assert fine["used"] < almost["used"]
    evaluate_the_rest(place)
    whole = until(place, "0.001")
    assert (whole["used"], whole["stopped_by"]) == (300, "all")
    assert whole["interval"] == pytest.approx([whole["difference"]] * 2)
    assert almost["interval"][0] <= whole["difference"] <= almost["interval"][1]
    assert "exactly (2 seeds)" in whole["sentence"]
    assert not list(place.rglob("*.state"))
    rows = {row.plan["name"]: row for row in collect(place / "runs")}
    difference = rows["fire"].over_seeds("robust").mean - rows["trades"].over_seeds("robust").mean
    assert whole["difference"] == pytest.approx(difference)
    assert rows["fire"].verdict == "unknown"  # judged, as PGD-20 is
    assert "300 images" in ran(place, *"compare runs fire trades".split()).stdout


def test_stopping_and_a_kill_change_no_mask(trained: Path, place: Path, tmp_path: Path) -> None:
    """Against an evaluation of all images at once, in the same order."""
    never = tmp_path / "never"
    shutil.copytree(trained, never / "runs")
    evaluate_the_rest(never)
    twins = with_a_twin(place)
    for many in (1, 3):
        with forked(place, *f"compare runs {twins} --until 0.001 {QUICK}".split()) as command:
            command.wait_for(lambda many=many: len(list(place.rglob(f"{PGD}.state"))) >= many)
            command.send(signal.SIGKILL)
            command.wait()
    assert until(place, "9", twins)["used"] < 300
    whole = until(place, "0.001", twins)
    assert (whole["stopped_by"], whole["difference"], whole["interval"]) == ("all", 0, [0, 0])
    assert " are level on PGD-20 at Linf 0.2, exactly (2 seeds)" in whole["sentence"]
    assert not list(place.rglob("*.state"))
    found, expected = masks(place / "runs"), masks(never / "runs")
    assert len(found) == 4
    for name, mask in found.items():
        assert mask == expected[name.replace("twin", twins.split()[0])]


def test_eval_goes_on_where_it_stopped(place: Path) -> None:
    until(place, "9")
    before = states(place)
    evaluate_the_rest(place)
    clean, robust = np.load(next(place.rglob(f"fire/*/seed-0/{PGD}.npy")))
    order = shuffled(0, 300)
    (kept,) = (each for folder, each in before.items() if "fire" in folder and folder.endswith("seed-0"))
    for number, (first, after) in kept.items():
        index = order[15 * int(number) : 15 * int(number) + 15]
        assert "".join("01"[each] for each in clean[index].astype(int)) == first
        assert "".join("01"[each] for each in robust[index].astype(int)) == after["pgd20"]
    assert until(place, "9")["stopped_by"] == "all"


def test_ctrl_c_ends_it_between_two_steps(place: Path) -> None:
    with forked(place, *"compare runs fire trades --until 0.001".split()) as command:
        command.wait_for(lambda: list(place.rglob(f"{AA}.state")))
        command.send(signal.SIGINT)
        assert command.wait(60) == 130
        assert "Traceback" not in command.stderr
    assert states(place, AA)


def test_masks_are_in_the_test_sets_order(place: Path) -> None:
    """Whether the clean image is right depends on no order."""
    for more in ("--shuffled --batch-size 15", ""):
        ran(place, *f"eval runs/digits/Linf/fire --attack pgd20 --jobs 1 {more}".split())
    plain, mixed = (np.load(next(place.rglob(f"{name}.npy"))) for name in ("eval.pgd20-Linf-0.2-300", PGD))
    assert np.array_equal(plain[0], mixed[0])
    assert np.abs(plain[1] ^ mixed[1]).mean() < 0.1
    for path in place.rglob("eval.*.json"):
        assert json.loads(path.read_text()).get("order", "") == ("shuffled" if "shuffled" in path.name else "")
    (row,) = [row for row in collect(place / "runs") if row.plan["name"] == "fire"]
    assert row.facts["evaluation_batch_size"] == 500  # the usual one, where both are there


def test_what_is_evaluated_already_is_not_attacked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fire", "trades"):
        ran(place, *f"eval runs/digits/Linf/{name} --attack pgd20 --jobs 1".split())
    with monkeypatch.context() as patch:
        patch.delattr(AttackedModel, "stand")
        found = until(place, "5")
    assert (found["used"], found["stopped_by"], found["seconds_saved"]) == (300, "all", 0)


def test_clean_accuracy_takes_no_attack(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(AttackedModel, "stand")
        found = until(place, "8", more="--metric clean --json")
        assert found["used"] < until(place, "0.01", more="--metric clean --json")["used"] <= 300
    assert "on clean accuracy" in found["sentence"]
    assert until(place, "20", more=f"{QUICK} --metric average")["metric"] == "average"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("runs fire trades --until 0", 2, "--until 0: expected points of accuracy above 0 and at most 100, like 0.5"),
        ("runs fire trades --until -1", 2, "--until -1: expected points"),
        ("runs fire trades --until nan", 2, "--until nan: expected points"),
        ("runs fire trades --until inf", 2, "--until inf: expected points"),
        ("runs fire trades --until 100.5", 2, "--until 100.5: expected points"),
        ("runs fire trades --until half", 2, "--until half: expected points"),
        ("runs fire --until 1", 2, "--until compares two methods, not 1"),
        ("runs fire trades standard --until 1", 2, "--until compares two methods, not 3"),
        ("runs fire fire --until 1", 2, "fire and fire are the same plan"),
        ("runs fire trdes --until 1", 2, "did you mean trades"),
        ("absent fire trades --until 1", 4, "absent does not exist"),
        ("board fire trades --until 1", 4, "board holds no trained run, whose networks --until attacks: name a folder"),
        ("runs fire trades --until 1 --attack square", 2, "unknown attack 'square'"),
        ("runs fire trades --attack pgd20", 2, "--attack is for the attacks that --until POINTS makes"),
        ("runs fire trades --eval-seed 1", 2, "--eval-seed is for the attacks"),
        ("runs fire trades --until 1 --eps x", 2, "--eps x"),
    ],
)
def test_bad_input_is_named(trained: Path, words: str, code: int, said: str) -> None:
    if "board" in words:
        shutil.copytree(DIGITS_BOARD, trained.parent / "board")
    before = sorted(trained.rglob("*"))
    assert said in " ".join(ran(trained.parent, *f"compare {words}".split(), code=code).stderr.split())
    assert sorted(trained.rglob("*")) == before


def test_methods_of_other_radii_are_refused_and_two_plans_of_one_told_apart(place: Path) -> None:
    ran(place, *"train trades digits --seeds 1 --epochs 1 --no-eval --eps 0.1 -o other".split())
    shutil.copytree(place / "other", place / "runs", dirs_exist_ok=True)
    said = ran(place, *"compare runs fire trades --until 1".split(), code=2).stderr
    assert "trades is 2 plans here: name a folder with one of them, or its plan" in " ".join(said.split())
    (plan,) = {run.folder.parent.name for run in find(place / "other")}
    (own,) = {run.folder.parent.name for run in find(place / "runs") if "trades" in run.folder.parts} - {plan}
    said = ran(place, *f"compare runs fire {plan} --until 1".split(), code=2).stderr
    assert "FIRE and TRADES cannot be compared: eps 0.2 of the one, 0.1 of the other" in " ".join(said.split())
    found = until(place, "20", f"{own} {plan}", f"{QUICK} --eps 0.15")
    assert f"TRADES {own}" in found["sentence"]
    assert "2 and 1 seeds" in found["sentence"]


def test_the_order_is_random_and_never_another() -> None:
    assert shuffled(0, 10).tolist() == [9, 3, 4, 5, 0, 8, 1, 6, 7, 2]
    assert sorted(shuffled(3, 1000)) == list(range(1000))
    assert shuffled(1, 10).tolist() != shuffled(0, 10).tolist()
    assert np.abs(np.corrcoef(shuffled(0, 10_000), np.arange(10_000))[0, 1]) < 0.03


@pytest.mark.parametrize(("images", "size"), [(10_000, 100), (1000, 50), (300, 15), (44, 10)])
def test_blocks_are_a_twentieth(images: int, size: int) -> None:
    assert block_size(images) == size


def test_what_it_takes_is_foreseen() -> None:
    """Of a half width that falls as sqrt((N - n) / n), from 2 points after 2,000 of 10,000."""
    scale = 2 * math.sqrt(2000 / 8000)
    needed = _expected(2000, 10_000, 2.0, 1.0)
    assert scale * math.sqrt((10_000 - needed) / needed) == pytest.approx(1, abs=0.001)
    assert _expected(0, 10_000, 100, 1) == _expected(10_000, 10_000, 0, 1) == 10_000


@pytest.mark.parametrize("text", ["1/2", "", "1,5", "1 %"])
def test_points_are_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="expected points of accuracy"):
        points(text)


KNOWN = {
    "methods": ("FIRE", "TRADES"), "plans": ("a", "b"), "seeds": (5, 5), "metric": "robust", "attack": "aa",
    "norm": "Linf", "eps": "8/255",
    "evaluation_seed": 0, "block": 100, "images": 10_000, "used": 2300, "value": 1.9, "low": 0.4, "high": 3.4,
    "points": 1.0, "doubts": ((), ()), "seconds_saved": 2400.0,
}  # fmt: skip


def test_the_sentence_says_all_of_it() -> None:
    known = Known(**KNOWN)  # type: ignore[arg-type]
    assert sentence(known) == (
        "After 2,300 of 10,000 images FIRE is 1.90 points above TRADES on AutoAttack at Linf 8/255 (95 % at any time: "
        "0.40 to 3.40; 5 seeds): which of them is above is decided. 7,700 images, about 40 min 00 s of attacks at this "
        "pace, were not needed. This is about these trained networks on this test set. For an interval over training "
        "seeds too, "
        "`robench eval FOLDER --attack aa --shuffled --batch-size 100 --norm Linf --eps 8/255` of each goes on to all "
        "images; then no --until."
    )
    changed = Known(**KNOWN | {"low": -0.6, "value": -0.1, "high": 0.4, "doubts": ((), ("why",)), "seeds": (5, 2)})  # type: ignore[arg-type]
    assert "FIRE is 0.10 points below TRADES" in sentence(changed)
    assert "5 and 2 seeds): known to within 1 points, which of them is above is not." in sentence(changed)
    assert "AutoAttack's own checks doubt TRADES: why." in sentence(changed)
    assert as_plain(changed)["stopped_by"] == "precision"
