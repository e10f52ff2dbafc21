"""The entry of RobustBench's model zoo: its text, the patch that adds it, and the installed zoo with it added."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench_fire.errors import DataError
from robench_fire.models import normalisation, robustbench_package, timm_models
from robench_fire.models.architectures import builder
from robench_fire.models.own import text as own_text
from robench_fire.problem.dataset import Dataset

NO_ID = "FILL-IN-AFTER-UPLOAD"
CARRIED = "robustbench/model_zoo/architectures/input_normalisation.py"
"""Where a class goes that RobustBench does not have."""


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """``expression`` builds the model inside RobustBench's module; ``carried``: the text of a file it needs, or ""."""

    name: str
    dataset: str
    norm: str
    expression: str
    drive_id: str
    carried: str = ""

    @property
    def module(self) -> str:
        """Of RobustBench, where the entry goes."""
        return f"robustbench.model_zoo.{self.dataset}"

    def added(self, source: str) -> str:
        """The module's text with the entry at the head of its board, and the import of the carried class.

        Raises:
            DataError: if the board is not found in it.
        """
        board = re.search(rf"^{self.norm.lower()} = OrderedDict\(\s*\[\n(?P<indent> *)", source, re.MULTILINE)
        if board is None:
            raise DataError(f"{self.module} of the installed robustbench holds no {self.norm} board as it is known")
        text = (
            f"({self.name!r}, {{\n    'model': lambda: {self.expression},\n"
            f"    'gdrive_id': {self.drive_id or NO_ID!r},\n}}),\n"
        )
        indent, start = board["indent"], board.start("indent")
        entry = "".join(f"{indent}{line}\n" for line in text.splitlines())
        return self._imported(source[:start]) + entry + source[start:]

    def _imported(self, head: str) -> str:
        if not self.carried:
            return head
        names = ", ".join(sorted(each.__name__ for each in _CLASSES))
        line = f"from {CARRIED.removesuffix('.py').replace('/', '.')} import {names}\n"
        anchor = "from robustbench.model_zoo.enums import ThreatModel\n"
        if anchor not in head:
            raise DataError(f"{self.module} of the installed robustbench does not begin as it is known")
        return head.replace(anchor, line + anchor, 1)

    def patch(self) -> str:
        """A unified diff against the repository root of the installed robustbench's version."""
        path, before = f"{self.module.replace('.', '/')}.py", _source(self.module)
        parts = [_diff(path, before, self.added(before))]
        return "".join([*parts, _diff(CARRIED, "", self.carried)] if self.carried else parts)


_CLASSES = (normalisation.Standardise, normalisation.StandardiseEachImage)


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True),
        f"a/{path}" if before else "/dev/null", f"b/{path}",
    )  # fmt: skip
    return f"diff --git a/{path} b/{path}\n" + ("" if before else "new file mode 100644\n") + "".join(lines)


def _source(module: str) -> str:
    robustbench_package.load()
    return Path(inspect.getfile(importlib.import_module(module))).read_text(encoding="utf-8")


def entry_of(name: str, dataset: str, parts: Dataset, norm: str, arch: str, how: str, drive_id: str) -> ZooEntry:
    """The entry of a model of ours: ``arch`` behind the normalisation ``how``, see models.build.

    What comes from a file is checked before it becomes part of an expression.

    Raises:
        RecipeError: for an architecture that does not exist or does not take the images.
        DataError: for one that neither RobustBench nor timm has, or an unknown normalisation.
    """
    check_network(arch)  # before a builder: one of a user's own would execute code that a bundle names
    builder(arch, parts.shape)
    if not re.fullmatch(r"[\w-]*", drive_id):
        raise DataError(f"Drive id {drive_id!r} is not one")
    expression, carried, first = _expression(arch, parts), "", _first(how, parts)
    if first:
        expression, carried = f"nn.Sequential({first}, {expression})", inspect.getsource(normalisation)
    return ZooEntry(name=name, dataset=dataset, norm=norm, expression=expression, drive_id=drive_id, carried=carried)


def check_network(arch: str) -> None:
    """Whether RobustBench can build a network, as far as its name says.

    Raises:
        DataError: for one of a user's own.
    """
    if own := own_text.read(arch):
        raise DataError(
            f"{own.call} of {own.place} is a network of your own, which cannot be bundled: RobustBench builds models "
            "from classes in its repository. Add yours there first, by a pull request with its file in "
            "robustbench/model_zoo/architectures and its entry; docs/own-network.md says what goes with it"
        )


def _first(how: str, parts: Dataset) -> str:
    """The layer in front of the network, "" for none."""
    if how in ("none", "image"):
        return "StandardiseEachImage()" if how == "image" else ""
    try:
        mean, std = (parts.mean, parts.std) if how == "dataset" else normalisation.statistics(how, parts.shape[0])
    except ValueError as fault:
        raise DataError(f"normalisation {fault}") from None
    return f"Standardise({mean}, {std})"


def _expression(arch: str, parts: Dataset) -> str:
    classes = "" if parts.num_classes == 10 else f", num_classes={parts.num_classes}"
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", arch):
        return f"WideResNet(depth={match[1]}, widen_factor={match[2]}{classes}, sub_block1=False)"
    if arch == "resnet-18":
        return f"ResNet(BasicBlock, [2, 2, 2, 2]{classes})"
    if arch == "preact-resnet-18":
        return f"PreActResNet(PreActBlock, [2, 2, 2, 2]{classes}, bn_before_fc=True, out_shortcut=True)"
    if arch.startswith("timm/"):
        name = arch.removeprefix("timm/")
        chosen = {"num_classes": parts.num_classes, **timm_models.settings(name, parts.shape)}
        return f"timm.create_model({name!r}, {', '.join(f'{each}={value}' for each, value in chosen.items())})"
    raise DataError(f"{arch} is an architecture that neither RobustBench nor timm has; it cannot be submitted")


@contextmanager
def registered(entry: ZooEntry) -> Iterator[None]:
    """The installed robustbench with the patch applied, in this process, until the body is left.

    Nothing of a bundle is executed: the entry's text is made here.
    """
    robustbench_package.load()
    from robustbench.model_zoo import model_dicts
    from robustbench.model_zoo.enums import BenchmarkDataset

    carried = CARRIED.removesuffix(".py").replace("/", ".")
    if entry.carried:
        sys.modules[carried] = _executed(carried, entry.carried)
    key = BenchmarkDataset(entry.dataset)
    before = model_dicts[key]
    try:
        patched = _executed(entry.module, entry.added(_source(entry.module)))
        boards: Any = getattr(patched, f"{entry.dataset.replace('cifar', 'cifar_')}_models")
        model_dicts[key] = boards
        yield
    finally:
        model_dicts[key] = before
        sys.modules.pop(carried, None)


def _executed(name: str, text: str) -> types.ModuleType:
    """A module made of ``text``, not entered into sys.modules."""
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}, patched>", "exec"), vars(module))
    return module
