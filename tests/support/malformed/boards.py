"""Boards and rows, published figures, bundles for RobustBench, and figures' own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from malformed import DEEP, GARBAGE, ROW, Case, Make, row, written

OURS = "robench_fire"
ROWS: list[tuple[str, Make, str]] = [
    ("empty", written(ROW, ""), "is not JSON"),
    ("of garbage", written(ROW, GARBAGE), "is no text"),
    ("a list", written(ROW, "[]"), "holds a list where an object was expected"),
    ("nested deeply", written(ROW, DEEP), "nested more than 64 deep"),
    ("of NaN", written(ROW, '{"name": NaN}'), "holds NaN, which is no number of JSON"),
    ("of nothing of ours", written(ROW, '{"name": "x"}'), "is not a leaderboard row of ours"),
    ("whose part of ours is a list", row(OURS, to=[]), "is not a leaderboard row of ours: robench_fire is []"),
    ("without a plan", row(OURS, "plan", to=...), "is not a leaderboard row of ours: it has no robench_fire.plan"),
    ("whose seeds are a list", row(OURS, "seeds", to=[]), "robench_fire.seeds is [], not an object"),
    ("of no seed", row(OURS, "seeds", to={}), "it has no seed"),
    ("of a seed that is a word", row(OURS, "seeds", "x", to={}), 'a name in robench_fire.seeds is "x"'),
    ("of a seed without sessions", row(OURS, "sessions", "0", to=...), "sessions has nothing of seed 0"),
    ("of a seed with no session", row(OURS, "sessions", "0", to=[]), "a seed has no session"),
    ("of an accuracy of 1,000 %", row(OURS, "seeds", "0", "robust", to=1000), "is 1000, not a percentage"),
    ("of an accuracy that is a text", row(OURS, "seeds", "0", "clean", to="94"), 'clean is "94", not a percentage'),
    ("of another accuracy", row(OURS, "seeds", "0", "clean", to=94.0), "was changed by hand"),
    ("of no number of images", row(OURS, "seeds", "0", "clean", to=94.123), "was changed by hand"),
    ("of no images", row(OURS, "examples", to=0), "is not a leaderboard row of ours"),
    ("of a trillion images", row(OURS, "examples", to=10**12), "examples is 1000000000000, not a number of images"),
    ("of another radius", row(OURS, "eps", to="0.3"), "was changed by hand: its eps is 0.2, its seeds give 0.3"),
    ("of a radius that is a list", row(OURS, "eps", to=["0.2"]), 'eps is ["0.2"], not a radius'),
    ("whose masks are no text", row(OURS, "masks", to={"0": {"clean": 1, "robust": 1}}), "masks.0.clean is 1"),
    ("whose masks are no masks", row(OURS, "masks", to={"0": {"clean": "x", "robust": "x"}}), "not a packed mask"),
    ("whose key climbs", row(OURS, "paper", "key", to="../../x"), 'paper.key is "../../x", not a name'),
    ("whose data set climbs", row(OURS, "plan", "dataset", to=".."), 'plan.dataset is "..", not a name'),
    ("whose title is a number", row("name", to=7), "name is 7, not a text"),
    ("whose link is a list", row("link", to=[]), "link is [], not a text"),
    ("whose title is another", row("name", to="x"), "was changed by hand: its name is x"),
    ("with a colour for the terminal", written(ROW, '{"name": "\\u001b[31m"}'), "which a terminal would act on"),
    ("whose verdicts are a text", row(OURS, "verdicts", to="fine"), 'verdicts is "fine", not an object'),
    ("whose evaluator is null", row(OURS, "evaluator", to=None), "evaluator is null, not an object"),
    ("whose seal is another", lambda place: _resealed(place), "was changed by hand"),
]


def _resealed(place: Path) -> None:
    told = json.loads((place / ROW).read_text())
    told[OURS]["seal"] = 7
    (place / ROW).write_text(json.dumps(told))


def json_file(name: str, value: Any) -> Make:
    return written(name, value if isinstance(value, (str, bytes)) else json.dumps(value))


FEATURES = {"mean": {}, "models": [], "embedding": "pca", "norm": "Linf", "eps": "0.2"}
FIGURES: list[tuple[str, str, Any, str]] = [
    ("features that are empty", "features", {}, "is not what `robench features -o` writes: it has no mean"),
    ("features of no model", "features", FEATURES, "it holds no model"),
    ("features whose models are a text", "features", FEATURES | {"models": "x"}, 'models is "x", not a list'),
    ("features of points with three ends", "features", FEATURES | {"models": [{"name": "a", "embedded": {
        "label": [0], "clean": [[1, 2, 3]], "perturbed": [[1, 2]]}}]}, "is [1, 2, 3], not two numbers"),
    ("a transfer that is empty", "transfer", {}, "is not what `robench transfer` writes: it has no transfer"),
    ("a transfer that is a list", "transfer", {"transfer": []}, "transfer is [], not an object"),
    ("a transfer of NaN", "transfer", '{"transfer": {"a": {"a": {"mean": NaN}}}}', "holds NaN"),
]  # fmt: skip
PUBLISHED: list[tuple[str, str | bytes, str]] = [
    ("empty", "", "f.csv"),
    ("garbage", GARBAGE, "f.csv"),
    ("other columns", "a,b\n1,2\n", "f.csv"),
]
BUNDLES: list[tuple[str, dict[str, str | bytes], str]] = [
    ("of nothing", {"x": ""}, "is not a bundle: it has no SHA256SUMS; `robench submit RUN -o DIR` makes one"),
    ("with no hash", {"SHA256SUMS": ""}, "missing: CHECKLIST.md"),
    ("whose hashes are garbage", {"SHA256SUMS": GARBAGE}, "is not a bundle: it has no SHA256SUMS"),
    ("of files that climb", {"SHA256SUMS": f"{'0' * 64}  ../../../etc/passwd\n"}, "missing: ../../../etc/passwd"),
]
NEEDED = ["evidence/autoattack.log", "evidence/aa_summary.json", "evidence/masks.npy", "evidence/reliability.json",
          "evidence/admission.json", "evidence/robustbench_check.json", "provenance/submission.json",
          "CHECKLIST.md"]  # fmt: skip
EVIDENCE = {"name": "x", "attack": "aa", "version": "1", "versions": {}, "norm": "Linf", "eps": "8/255", "seed": 0,
            "examples": 10, "clean": 1.0, "robust": 1.0, "after": {}, "flags": [], "arch": "resnet-18",
            "normalise": "none", "weights_sha256": "0", "images_sha256": "0"}  # fmt: skip
PAPER = {"name": "a", "authors": "b", "venue": "c", "link": "https://a.org"}
TOLD = {"format": 1, "name": "Picot2021Adversarial_x", "link": "", "missing": [], "file": "a.pt", "dataset": "cifar10",
        "paper": PAPER, "additional_data": False}  # fmt: skip
BESIDE = EVIDENCE | {"arch": "timm/resnet18"}
DIGITS = TOLD | {"dataset": "digits"}
CLAIMS: list[tuple[str, Any, Any, str]] = [
    ("an evaluation of garbage", GARBAGE, TOLD, "is no text"),
    ("an evaluation that is a list", [], TOLD, "holds a list"),
    ("an evaluation of another norm", EVIDENCE | {"norm": "../../x"}, TOLD, "names no norm of Linf, L2"),
    ("an evaluation of nothing", {"norm": "Linf"}, TOLD, "has no after, arch, attack"),
    ("an evaluation of a network of code", EVIDENCE | {"arch": "os:system"}, DIGITS, "a network of your own"),
    ("a normalisation of code", BESIDE | {"normalise": "x');open('executed','w')"}, DIGITS, "normalis"),
    ("a submission of another format", EVIDENCE, TOLD | {"format": 9}, "is of format 9; this robench reads format 1"),
    ("a name that is code", EVIDENCE, TOLD | {"name": "x': __import__('os').mkdir('executed')"}, "cannot be read"),
    ("a data set that climbs", EVIDENCE, TOLD | {"dataset": "../../x"}, "unknown data set '../../x'"),
    ("a paper that is a list", EVIDENCE, TOLD | {"paper": []}, "cannot be read"),
    ("a list of what is missing that is a number", EVIDENCE, TOLD | {"missing": 3}, "cannot be read"),
]  # fmt: skip


def bundle(files: dict[str, str | bytes]) -> Make:
    def make(place: Path) -> None:
        for name, content in files.items():
            written(f"bundle/{name}", content)(place)

    return make


def claim(evidence: Any, told: Any) -> Make:
    """A bundle of nothing but what is claimed."""
    both = {"evidence/aa_summary.json": evidence, "provenance/submission.json": told}
    weights = dict.fromkeys(("checkpoint/evaluated.pt", "checkpoint/Picot2021Adversarial_x.pt"), "x")
    files: dict[str, str | bytes] = dict.fromkeys(NEEDED, "{}") | {"SHA256SUMS": ""} | weights
    return bundle(files | {name: each if isinstance(each, bytes) else json.dumps(each) for name, each in both.items()})


CHECK = "submit --check bundle --examples 1"
CASES = [
    *(Case(f"a row {name}", "table board", 4, said, make) for name, make, said in ROWS),
    Case("a row of garbage, compared", "compare board fire trades", 4, "is not JSON", written(ROW, "{")),
    Case("a row of garbage, reported", "report board", 4, "is not JSON", written(ROW, "{")),
    Case("a row of garbage, drawn", "plot tradeoff board -o a.png", 4, "is not JSON", written(ROW, "{")),
    Case("a row of garbage, verified", "verify board", 7, "is not JSON", written(ROW, "{")),
    Case("no row", "table board/none.json", 4, "is no row of ours", written("board/none.json", "{}")),
    *(Case(f"a figure: {name}", f"plot {kind} f.json -o a.png", 4, said, json_file("f.json", value))
      for name, kind, value, said in FIGURES),
    *(Case(f"published figures: {name}", "table board --published --update f.csv", 4, said, written("f.csv", text))
      for name, text, said in PUBLISHED),
    Case("published figures of no JSON", "table board --published --update f.json", 4, "f.json",
         written("f.json", "{")),
    *(Case(f"a bundle {name}", CHECK, 7, said, bundle(files)) for name, files, said in BUNDLES),
    *(Case(f"a bundle: {name}", CHECK, 7, said, claim(evidence, told)) for name, evidence, told, said in CLAIMS),
    Case("a bundle that is not there", "submit --check nowhere", 7, "is not a bundle"),
    Case("a run that is no plan's", "submit runs/nowhere", 2, "holds no run; name the folder of one plan"),
    Case("a paper of garbage", "submit digits-cnn:net.pt --dataset digits --paper p.json", 4, "is not JSON",
         written("p.json", "{")),
    Case("a paper of numbers", "submit digits-cnn:net.pt --dataset digits --paper p.json", 2,
         "name, authors, venue, link",         written("p.json", '{"name": 1}')),
]  # fmt: skip
