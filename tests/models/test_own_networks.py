"""Networks of a user's own: how they are written, what they are built with, and whose code is executed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from own_networks import BASE, NET, named, written
from torch import nn

from robench_fire.errors import RecipeError
from robench_fire.files import sha256
from robench_fire.models import architectures
from robench_fire.models.names import asked, display_name
from robench_fire.models.own import code, network, text

DIGITS = (1, 8, 8)


def declared(arch: str, **arguments: str) -> str:
    """As a plan has it, with arguments by ``--set``."""
    return network.declared(arch, [("--set", f"arch.{name}", value) for name, value in arguments.items()])[0]


def parameters(arch: str) -> int:
    return sum(each.numel() for each in architectures.builder(arch, DIGITS)(DIGITS, 10).parameters())


@pytest.mark.parametrize(
    "arch",
    ["wrn-34-10", "digits-cnn", "timm/resnet18", "timm:resnet18", "rb:Carmon2019Unlabeled", "net.py", "build", ""],
)
def test_other_architectures_are_none_of_a_users_own(arch: str) -> None:
    assert text.read(arch) is None


@pytest.mark.parametrize(
    "arch",
    ["net.py:build", "net.py@0123456789ab:Net(width=32, act='silu')#logits", "models.wide:Net(sizes=(1, 2))#0"],
)
def test_a_text_is_read_as_it_is_written(arch: str) -> None:
    assert str(text.read(arch)) == arch


@pytest.mark.parametrize("arguments", ["(32)", "(**more)", "(width=)", "(width=open('x'))"])
def test_arguments_are_values_by_name(arguments: str) -> None:
    with pytest.raises(RecipeError, match=r"expected arguments by name, like :build\(width=32"):
        text.read(f"net.py:build{arguments}")


def test_a_plan_names_the_file_its_code_and_arguments_that_are_no_defaults(tmp_path: Path) -> None:
    arch = named(tmp_path)
    at = f"net.py@{sha256(tmp_path / 'net.py')[:12]}"
    assert declared(arch) == declared(arch, width="8") == f"{at}:build"
    assert declared(arch, act="silu", width="16") == f"{at}:build(width=16, act='silu')"
    assert declared(f"{arch}(act='silu', width=16)") == declared(f"{arch}(act='silu')", width="16")


def test_it_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = named(tmp_path / "one"), named(tmp_path / "other")
    monkeypatch.chdir(tmp_path / "one")
    assert declared(one) == declared(other) == declared("./net.py:build") == declared("net.py:build")


def test_a_plans_text_is_its_own(tmp_path: Path) -> None:
    """So that it can be copied from `robench show`, and composed again."""
    arch = declared(named(tmp_path), width="16")
    assert declared(arch) == arch


def test_arguments_are_built_with(tmp_path: Path) -> None:
    assert parameters(declared(named(tmp_path), width="16")) == 16 * 9 + 16 + 32 + 16 * 64 * 10 + 10


def test_a_class_gets_what_it_asks_for(tmp_path: Path) -> None:
    source = BASE + "class Own(Base):\n    def __init__(self, shape, num_classes, depth: int):\n"
    source += "        super().__init__(num_classes)\n        self.given = (shape, depth)\n"
    arch = declared(named(tmp_path, source, "Own"), depth="3")
    made = architectures.builder(arch, DIGITS)(DIGITS, 7)
    assert made.given == (DIGITS, 3)
    assert made(torch.rand(2, *DIGITS)).shape == (2, 7)


@pytest.mark.parametrize(
    ("annotation", "value", "read"),
    [("int", "3", "3"), ("float", "1/4", "0.25"), ("bool", "true", "True"), ("str", "3", "'3'"),
     ("int | None", "none", ""), ("tuple[int, ...]", "1,2", "(1, 2)")],
)  # fmt: skip
def test_values_are_of_the_annotated_type(annotation: str, value: str, read: str, tmp_path: Path) -> None:
    source = f"def build(num_classes, value: {annotation} = None):\n    pass\n"
    written_ = declared(named(tmp_path, source), value=value)
    assert written_.partition(":")[2] == (f"build(value={read})" if read else "build")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("build(widht=3)", r"net\.py:6, build: unknown argument 'widht': did you mean width\? choose from act, width$"),
        ("build(num_classes=3)", r"net\.py:6, build: num_classes is the data set's, and is not set$"),
        ("biuld", r"unknown function or class 'biuld': did you mean build\?"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(call: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        declared(named(tmp_path, call=call))


def test_a_value_of_another_type_and_one_that_is_needed_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^--set arch\.width=wide: expected an integer, got 'wide'$"):
        declared(named(tmp_path), width="wide")
    with pytest.raises(RecipeError, match=r"net\.py:1, build: it needs depth: say --set arch\.depth=VALUE$"):
        declared(named(tmp_path, "def build(num_classes, depth):\n    pass\n"))
    with pytest.raises(RecipeError, match="digits-cnn has no arguments"):
        declared("digits-cnn", width="3")


def test_a_file_alone_says_what_is_in_it(tmp_path: Path) -> None:
    path = written(tmp_path, BASE + "def build(num_classes):\n    return Base()\n")
    with pytest.raises(RecipeError, match=rf"say what in it makes the network, {path}:Base or {path}:build$"):
        declared(str(path))


@pytest.mark.parametrize(
    ("arch", "said"),
    [("./nowhere.py:build", "no such file"), ("nowhere.module:build", r"No module named 'nowhere'"),
     ("nowhere:build", "Python finds no such module")],
)  # fmt: skip
def test_code_that_is_not_there(arch: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        declared(arch)


def test_a_module_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "own_package", name="nets.py")
    (tmp_path / "own_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    arch = declared("own_package.nets:build(width=4)")
    assert re.fullmatch(r"own_package\.nets@[0-9a-f]{12}:build\(width=4\)", arch)
    assert parameters(arch) == 4 * 9 + 4 + 8 + 4 * 64 * 10 + 10


def test_what_a_file_imports_beside_it_is_its_code_too(tmp_path: Path) -> None:
    source = "from parts.heads import head\n\ndef build(num_classes):\n    return head(num_classes)\n"
    arch = named(tmp_path, source)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    heads = "from torch import nn\n\ndef head(n):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, n, bias={}))\n"
    found = []
    for bias in (True, False):
        (tmp_path / "parts" / "heads.py").write_text(heads.format(bias), encoding="utf-8")
        found.append(declared(arch))
    assert found[0] != found[1]
    assert [parameters(each) for each in found[1:]] == [640]
    assert set(code.code_at(str(tmp_path / "net.py")).files) == {"net.py", "parts/__init__.py", "parts/heads.py"}


def test_code_is_executed_later_only_where_it_was_named_and_as_it_was(tmp_path: Path) -> None:
    source = f"{NET}\n# {tmp_path}\n"  # which no other test has named
    arch = declared(named(tmp_path, source))
    own, never = text.read(arch), text.read(arch.replace(":build", ":other"))
    assert own is not None
    assert never is not None
    assert code.trusted(own).path == tmp_path / "net.py"
    with pytest.raises(RecipeError, match="was never named here"):
        code.trusted(never)
    copied = written(tmp_path / "copy", source)
    written(tmp_path, source + "# changed\n")
    with pytest.raises(RecipeError, match=r"net\.py, or what it imports, has changed since it was net\.py@.*:build"):
        code.trusted(own, str(copied))
    (tmp_path / "net.py").unlink()
    with pytest.raises(RecipeError, match=r"is gone: look at .*/copy/net\.py, then say --arch '.*/copy/net\.py:build'"):
        code.trusted(own, str(copied))
    assert declared(f"{copied}:build") == arch
    assert code.trusted(own).path == copied


def test_only_the_function_that_was_named_is_called(tmp_path: Path) -> None:
    """As a stranger's plan might name another one of the same file."""
    arch = declared(named(tmp_path, f"from os import system\n{NET}\n# {tmp_path}\n"))
    assert callable(architectures.builder(arch, DIGITS))
    with pytest.raises(RecipeError, match=r":system\(command='true'\) was never named here"):
        architectures.builder(arch.replace(":build", ":system(command='true')"), DIGITS)


def test_a_module_that_changes_under_this_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "changing", name="nets.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert declared("changing.nets:build") == declared("changing.nets:build")
    written(path.parent, NET + "# changed\n", "nets.py")
    with pytest.raises(RecipeError, match=r"changing\.nets has changed since this process imported it"):
        declared("changing.nets:build")


def test_a_text_without_its_code_executes_nothing(tmp_path: Path) -> None:
    """As a stranger's plan might have it."""
    arch = named(tmp_path, f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    with pytest.raises(RecipeError, match="does not say which code it is"):
        architectures.builder(arch, DIGITS)
    assert not (tmp_path / "executed").exists()


def test_another_process_refuses_code_that_has_changed_meanwhile(tmp_path: Path) -> None:
    arch = named(tmp_path)
    pinned = network.pinned(arch, declared(arch, width="16"))
    assert declared(pinned) == declared(arch, width="16")
    (tmp_path / "net.py").write_text(NET + "\n# changed\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"net\.py has changed since this command began"):
        declared(pinned)


@pytest.mark.parametrize(
    ("source", "said"),
    [("def build(:\n", r"net\.py:1 cannot be imported: SyntaxError"),
     ("\nraise ValueError('no')\n", r"net\.py:2 cannot be imported: ValueError: no"),
     ("import nowhere_at_all\n", r"net\.py:1 cannot be imported: ModuleNotFoundError")],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_is_named_with_its_line(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        declared(named(tmp_path, source))


def test_tables_call_it_by_its_function(tmp_path: Path) -> None:
    arch = declared(f"{named(tmp_path)}#logits", width="16")
    assert display_name(arch) == "build(width=16)"
    assert asked(arch) == "./net.py:build(width=16)#logits"
    assert asked("wrn-34-10") == "wrn-34-10"


PICKED = {
    "#0": "(out, x)", "#logits": "type('Out', (), {'logits': out})()", "#out": "{'out': out}", "#1": "[x, out]",
}  # fmt: skip


@pytest.mark.parametrize("pick", PICKED)
def test_the_part_that_is_picked_are_the_logits(pick: str, tmp_path: Path) -> None:
    source = BASE + "class Own(Base):\n    def forward(self, x):\n"
    source += f"        out = super().forward(x)\n        return {PICKED[pick]}\n"
    plain, own = (declared(named(tmp_path, source, call)) for call in ("Base", f"Own{pick}"))
    models = [architectures.builder(arch, DIGITS)(DIGITS, 10) for arch in (plain, own)]
    models[1].load_state_dict(models[0].state_dict())  # the names of weights stay
    x = torch.rand(2, *DIGITS)
    assert torch.equal(models[0](x), models[1](x))
    with pytest.raises(RecipeError, match=r"net\.py:14, Own: #nothing is no part of what it returns, a \w+"):
        architectures.builder(own.partition("#")[0] + "#nothing", DIGITS)(DIGITS, 10)(x)


def test_it_stands_behind_the_plans_normalisation(tmp_path: Path) -> None:
    model = architectures.build(declared(named(tmp_path)), DIGITS, 10, "dataset", (0.5,), (0.25,))
    assert isinstance(model, nn.Sequential)
    assert [type(each).__name__ for each in model] == ["Standardise", "Sequential"]
