"""Run folders: plans, records of trainings and evaluations, curves, masks, and what lies beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from malformed import DEEP, GARBAGE, Case, Make, array, cut, edited, folder, gone, holds, written

PLAN, TRAIN, ABOUT, AA = "plan.json", "train.json", "provenance.json", "eval.aa*.json"
MASKS, CURVE = "eval.aa*.npy", "curve.jsonl"


def plan(*keys: str, to: object) -> Make:
    return edited(PLAN, *keys, to=to)


TEXTS: list[tuple[str, str | bytes, str]] = [
    ("empty", "", "is not JSON"),
    ("garbage", GARBAGE, "is no text"),
    ("in another encoding", "{}".encode("utf-16"), "is no text"),
    ("with a byte order mark", b"\xef\xbb\xbf{}", "is not JSON"),
    ("a list", "[]", "holds a list where an object was expected"),
    ("a number", "7", "holds a int where an object was expected"),
    ("null", "null", "holds a NoneType where an object was expected"),
    ("cut", '{"name": "fire", "rec', "is not JSON"),
    ("two values", "{} {}", "is not JSON"),
    ("nested 100,000 deep", DEEP, "nested more than 64 deep"),
    ("nested 500 deep", '{"a": ' + "[" * 500 + "]" * 500 + "}", "nested more than 64 deep"),
    ("a key twice", '{"name": "fire", "name": "trades"}', "the key 'name' twice"),
    ("NaN", '{"eps": NaN}', "holds NaN, which is no number of JSON"),
    ("infinite", '{"eps": -Infinity}', "holds -Infinity"),
    ("an exponent of 400", '{"eps": 1e400}', "too large a number"),
    ("an integer of 5,000 digits", '{"eps": ' + "9" * 5000 + "}", "too large a number"),
    ("half a character", '{"name": "\\ud800"}', "is not JSON"),
    ("a colour for the terminal", '{"name": "\\u001b[31mfire"}', "'\\x1b', which a terminal would act on"),
    ("text that runs backwards", '{"name": "\\u202efire"}', "'\\u202e', which a terminal would act on"),
    ("an empty object", "{}", "has no"),
]
TERABYTE = (
    b"\x93NUMPY\x01\x00v\x00{'descr': '|b1', 'fortran_order': False, 'shape': (2, 500000000000), }".ljust(127) + b"\n"
)
WRONG: list[tuple[str, Make, str]] = [
    ("a plan without a recipe", plan("recipe", to=...), "it has no recipe"),
    ("a plan whose recipe is a list", plan("recipe", to=[]), "recipe is [], not an object"),
    ("a plan whose radius is a number", plan("claim", "eps", to=0.2), "claim.eps is 0.2, not a radius like 8/255"),
    ("a plan whose radius is divided by zero", plan("claim", "eps", to="1/0"), 'claim.eps is "1/0", not a radius'),
    ("a plan of another norm", plan("claim", "kind", to="L1"), 'claim.kind is "L1", not Linf or L2'),
    ("a plan whose data set climbs", plan("dataset", to="../../../digits"), 'dataset is "../../../digits", not a name'),
    ("a plan whose name breaks the line", plan("name", to="fi\nre"), 'name is "fi\\nre", not a name'),
    ("a plan whose name is a path", plan("name", to="/etc/passwd"), 'name is "/etc/passwd", not a name'),
    ("a plan whose epochs are a word", plan("recipe", "epochs", to="many"), 'recipe.epochs is "many"'),
    ("a plan whose extra data is a list", plan("recipe", "extra", to=["x"]), "recipe.extra is"),
    ("a plan whose hidden share is null", plan("recipe", "extra", "hidden", to=None), "recipe.extra"),
    ("a plan whose architecture is null", plan("recipe", "arch", to=None), "recipe.arch is null, not a text"),
    ("a plan of own images without a hash", plan("data", to={"name": "x"}), "data"),
    ("a plan whose teacher is true", plan("recipe", "teacher", to=True), "recipe.teacher is true, not an object"),
    ("a plan of another folder", holds(PLAN, '{"kind": "Plan"}'), "it has no name"),
    ("a training without a hash", edited(TRAIN, "weights_sha256", to=...), "it has no weights_sha256"),
    ("a training whose hash is a number", edited(TRAIN, "weights_sha256", to=7), "weights_sha256 is 7, not a SHA-256"),
    ("a training of no time", edited(TRAIN, "seconds", to="long"), 'seconds is "long", not a number'),
    ("a training whose cost is a text", edited(TRAIN, "flops", to="many"), 'flops is "many", not a number'),
    ("a labeller that is a list", edited(TRAIN, "labeller", to=[]), "labeller is [], not an object"),
    ("signs that are no list", edited(TRAIN, "signs", to="bad"), 'signs is "bad", not a list'),
    ("a paper that is a text", edited(ABOUT, "paper", to="x"), 'paper is "x", not an object'),
    ("a paper whose key climbs", edited(ABOUT, "paper", "key", to="../x"), 'paper.key is "../x", not a name'),
    ("figures that are no list", edited(ABOUT, "paper", "reported", to={}), "paper.reported is {}, not a list"),
    ("a figure of NaN", edited(ABOUT, "paper", "reported", 0, "clean", to="NaN"), "paper.reported[0].clean"),
    ("sessions that are a number", edited(ABOUT, "sessions", to=3), "sessions is 3, not a list"),
    ("threads that are a list", edited(ABOUT, "sessions", 0, "threads", to=[1]), "sessions[0].threads is [1]"),
    ("an accuracy of 101 %", edited(AA, "robust", to=101), "robust is 101, not a percentage"),
    ("a negative accuracy", edited(AA, "clean", to=-1.0), "clean is -1.0, not a percentage"),
    ("an accuracy that is true", edited(AA, "clean", to=True), "clean is true, not a percentage"),
    ("an accuracy that is a text", edited(AA, "robust", to="12"), 'robust is "12", not a percentage'),
    ("an evaluation without a seed", edited(AA, "seed", to=...), "it has no seed"),
    ("an evaluation of a billion images", edited(AA, "examples", to=10**9), "examples is 1000000000"),
    ("an evaluation of -1 images", edited(AA, "examples", to=-1), "examples is -1, not a number of images"),
    ("an attack that climbs", edited(AA, "attack", to="../../aa"), 'attack is "../../aa", not the name of'),
    ("an order that is a path", edited(AA, "order", to="/tmp"), 'order is "/tmp", not a word'),
    ("attacks that are a list", edited(AA, "after", to=[1]), "after is [1], not an object"),
    ("machines that are null", edited(AA, "machines", to=None), "machines is null, not a list"),
    ("an interval of three numbers", edited(AA, "robust_interval", to=[1, 2, 3]), "robust_interval is [1, 2, 3]"),
    ("a verdict that is none", edited(AA, "reliability", "verdict", to="fine"), 'reliability.verdict is "fine"'),
    ("reasons that are numbers", edited(AA, "reliability", "reasons", to=[1]), "reliability.reasons[0] is 1"),
    ("masks that are cut", cut(MASKS), "cannot be read (ValueError)"),
    ("masks that are empty", holds(MASKS, b""), "cannot be read"),
    ("masks of text", holds(MASKS, "hello"), "cannot be read"),
    ("masks that are an npz", holds(MASKS, b"PK\x05\x06" + bytes(18)), "holds float64 (0,) where booleans"),
    ("masks of objects", array(MASKS, np.array([[None] * 40] * 2)), "cannot be read"),
    ("masks of floats", array(MASKS, np.zeros((2, 40))), "holds float64 (2, 40) where booleans"),
    ("masks of one dimension", array(MASKS, np.zeros(80, bool)), "holds bool (80,) where booleans"),
    ("masks of three rows", array(MASKS, np.zeros((3, 40), bool)), "holds bool (3, 40) where booleans"),
    ("masks that say they are a terabyte", holds(MASKS, TERABYTE), "cannot be read"),
    ("masks that are a folder", folder(MASKS), "cannot be read"),
    ("a folder for an evaluation", folder(AA), "cannot be read"),
    ("a folder for a plan", folder(PLAN), "cannot be read"),
]  # fmt: skip
CURVES: list[tuple[str, Make, str]] = [
    ("a curve of text", holds(CURVE, "epoch 1\n"), "is no curve"),
    ("a curve of lists", holds(CURVE, "[1]\n"), "is no curve: its line[0] is [1], not an object"),
    ("a curve whose loss is a list", holds(CURVE, '{"epoch": 1, "loss": [1]}\n'), "is no curve: its line[0].loss"),
    ("a curve without epochs", holds(CURVE, '{"loss": 1.0}\n'), "is no curve"),
    ("a curve that is cut", cut(CURVE, 0.4), "is no curve"),
    ("a curve of garbage", holds(CURVE, GARBAGE), "is no text"),
    ("a curve of NaN", holds(CURVE, '{"epoch": 1, "loss": NaN}\n'), "is no curve"),
    ("a curve that is a folder", folder(CURVE), "cannot be read"),
]
COMMANDS = ("eval runs --examples 40", "compare runs rst_adv rst_adv", "report runs", "claims runs", "rm runs --only x")


def unfinished(place: Path) -> None:
    gone(TRAIN)(place)
    cut(CURVE, 0.4)(place)


CASES = [
    *(Case(f"a plan {name}", "table runs", 4, f"plan.json ... {said}", holds(PLAN, text))
      for name, text, said in TEXTS),
    *(Case(f"an evaluation {name}", "table runs", 4, said, holds(AA, text)) for name, text, said in TEXTS),
    *(Case(name, "table runs", 4, said, make) for name, make, said in WRONG),
    Case("no run at all", "table nowhere", 4, "nowhere does not exist ... `robench train fire digits`"),
    Case("an empty folder", "table empty", 4, "no evaluated run in empty", written("empty/x", "")),
    *(Case(name, "plot curves runs -o curves.png", 4, said, make) for name, make, said in CURVES),
    Case("a listed curve that is cut", "ls runs", 4, "is no curve", unfinished),
    *(Case(f"a plan cut, by {each}", each, 4, "is not JSON", cut(PLAN)) for each in COMMANDS),
]  # fmt: skip
