"""A network of a user's own: from what is asked for to a plan's text, and from that to a model."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from torch import Tensor, nn

from robench_fire.errors import RecipeError, RobenchError, in_a_line, located, unknown
from robench_fire.models.own import code as codes
from robench_fire.models.own.text import Written, read
from robench_fire.problem.plan import read_value

Shape = tuple[int, int, int]
Settings = Sequence[tuple[str, str, str]]
"""(flag, path, text), as the user set them."""
PREFIX = "arch."
GIVEN = ("num_classes", "in_channels", "image_size", "shape")
"""Arguments that are the data set's, passed by name to whoever has them."""


class Found(NamedTuple):
    """``make``: the function or class. ``where``: its line, for messages."""

    network: Written
    make: Callable[..., Any]
    where: str

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Those that a user may set, by name."""
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        every = inspect.signature(self.make).parameters
        return {name: each for name, each in every.items() if each.kind in named and name not in GIVEN}

    @property
    def open(self) -> bool:
        """Whether it takes arguments of any name."""
        every = inspect.signature(self.make).parameters.values()
        return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in every)


def declared(arch: str, settings: Settings = ()) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """The text of a plan for a network that the user names, and the settings that are not its arguments.

    Other architectures stay as they are. From now on, the code may be executed.

    Raises:
        RecipeError: if its code cannot be imported, is another than the text says, or an argument is none of its.
    """
    written = read(arch)
    own = {path.removeprefix(PREFIX): (flag, text) for flag, path, text in settings if path.startswith(PREFIX)}
    rest = tuple(each for each in settings if not each[1].startswith(PREFIX))
    if written is None:
        if arch.endswith(".py"):
            raise RecipeError(f"--arch {arch}: say what in it makes the network, {_choices(arch)}")
        if own:
            name, (flag, text) = next(iter(own.items()))
            fix = "say --arch FILE.py:FUNCTION with it" if not arch else f"{arch} has no arguments"
            raise RecipeError(f"{flag} arch.{name}={text} is an argument of a network of your own: {fix}")
        return arch, rest
    found = _named(written)
    given = dict(written.arguments) | {name: _value(found, name, *said) for name, said in own.items()}
    return str(found.network._replace(arguments=_canonical(found, given))), rest


def _choices(file: str) -> str:
    """How the functions and classes of a file are named; nothing is executed."""
    try:
        body = ast.parse(codes.code_at(file).path.read_bytes()).body
    except (SyntaxError, ValueError):
        body = []
    names = [each.name for each in body if isinstance(each, (ast.FunctionDef, ast.ClassDef))]
    return " or ".join(f"{file}:{name}" for name in names or ["NAME"])


def _named(written: Written) -> Found:
    """What the user names; its code is trusted from now on."""
    if written.digest and written.is_file and Path(written.place).name == written.place:  # as a plan has it
        return found_of(str(written))
    code = codes.code_at(written.place)
    digest = code.digest()
    if written.digest not in ("", digest):
        raise RecipeError(f"{written.place} has changed since this command began; run it again for the new one")
    place = code.path.name if written.is_file else written.place
    network = written._replace(place=place, digest=digest)
    found = _found(network, codes.imported(network, code))
    codes.trust(network, code)
    return found


def pinned(arch: str, of_plan: str) -> str:
    """What the user named, with the code and the arguments that a plan has, so that another process finds the same."""
    written, own = read(arch), read(of_plan)
    if written is None or own is None or (own.name, own.place) != (written.name, Path(written.place).resolve().name):
        return arch  # a setting names another one
    return str(own._replace(place=str(Path(written.place).resolve()) if written.is_file else written.place))


def found_of(arch: str, folder: Path | None = None) -> Found:
    """The network of a plan's text, whose code the user has named here before; ``folder``: of a run, with a copy of it.

    Raises:
        RecipeError: if its code was never named here, is gone or has changed.
    """
    network = read(arch)
    assert network is not None
    if not network.digest:
        raise RecipeError(f"{arch} does not say which code it is; name it with --arch")
    other = str(folder / network.place) if folder and network.is_file else ""
    module = codes.loaded(network)
    return _found(network, module or codes.imported(network, codes.trusted(network, other)))


def _found(network: Written, module: Any) -> Found:
    make = getattr(module, network.name, None)
    if not callable(make):
        own = [name for name, each in vars(module).items() if _makes(each, module)]
        raise RecipeError(f"--arch {network.place}: {unknown('function or class', network.name, own)}")
    return Found(network, make, line_of(network, make))


def _makes(value: Any, module: Any) -> bool:
    """Whether it may be what the user meant: defined there, and a network's class or a function."""
    defined = getattr(value, "__module__", "") == module.__name__
    return defined and (inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)))


def line_of(network: Written, make: Callable[..., Any]) -> str:
    """Where it is written: net.py:12, build."""
    try:
        name = Path(inspect.getsourcefile(inspect.unwrap(make)) or network.place).name
        return f"{name}:{inspect.getsourcelines(make)[1]}, {network.name}"
    except (OSError, TypeError):
        return f"{network.place}, {network.name}"


def _value(found: Found, name: str, flag: str, text: str) -> Any:
    """The text of an argument as its annotation, else its default, says."""
    _known(found, name)
    if name not in found.parameters:
        return _literal(text)
    parameter, target = found.parameters[name], found.make.__init__ if inspect.isclass(found.make) else found.make
    try:
        kind = get_type_hints(target).get(name)
    except Exception:  # an annotation that cannot be evaluated says nothing
        kind = None
    if kind is None and parameter.default not in (inspect.Parameter.empty, None):
        kind = type(parameter.default)
    try:
        return _literal(text) if kind in (None, Any, tuple, list, dict) else read_value(kind, text)
    except ValueError as fault:
        raise RecipeError(f"{flag} arch.{name}={text}: {fault}") from None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _known(found: Found, name: str) -> None:
    if name in GIVEN and name in inspect.signature(found.make).parameters:
        raise RecipeError(f"{found.where}: {name} is the data set's, and is not set")
    if name not in found.parameters and not found.open:
        raise RecipeError(f"{found.where}: {unknown('argument', name, found.parameters)}")


def _canonical(found: Found, given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Arguments in the order of the signature, without those that say its default.

    Raises:
        RecipeError: for one that it does not have, or one that it needs and has not got.
    """
    for name in given:
        _known(found, name)
    empty = inspect.Parameter.empty
    if lacking := [name for name, each in found.parameters.items() if each.default is empty and name not in given]:
        raise RecipeError(f"{found.where}: it needs {', '.join(lacking)}: say --set arch.{lacking[0]}=VALUE")
    own = [
        (name, given[name]) for name, each in found.parameters.items()
        if name in given and (type(given[name]), given[name]) != (type(each.default), each.default)
    ]  # fmt: skip
    return (*own, *sorted((name, value) for name, value in given.items() if name not in found.parameters))


def arguments(arch: str) -> dict[str, Any]:
    """By name, what a network of a plan's text is built with, but for what the data set says; nothing for others."""
    if read(arch) is None:
        return {}
    found = found_of(arch)
    return {name: each.default for name, each in found.parameters.items()} | dict(found.network.arguments)


def builder(arch: str) -> Callable[[Shape, int], nn.Module]:
    """The function (shape, number of classes) to model for a plan's text.

    Raises:
        RecipeError: as ``found_of``; the function, for what goes wrong in the user's code.
    """
    return partial(built, found_of(arch))


def built(found: Found, shape: Shape, num_classes: int) -> nn.Module:
    """What the user's function makes for images of ``shape``, returning the part of its output that is asked for.

    Raises:
        RecipeError: if it fails, with the line, or makes no module.
    """
    known = {"num_classes": num_classes, "in_channels": shape[0], "image_size": shape[1], "shape": shape}
    every = inspect.signature(found.make).parameters
    data = {name: value for name, value in known.items() if name in every or (found.open and name == "num_classes")}
    try:
        model = found.make(**data, **dict(found.network.arguments))
    except Exception as fault:
        raise failed(found, fault) from fault
    if not isinstance(model, nn.Module):
        raise RecipeError(f"{found.where}: returns a {type(model).__name__}; return a torch.nn.Module")
    if pick := found.network.pick:
        model.register_forward_hook(partial(_picked, pick, found.where))  # so that names of weights stay
    return model


def failed(found: Found, fault: Exception) -> RobenchError:
    """What is said of an error in the user's code."""
    if isinstance(fault, RobenchError):
        return fault
    return RecipeError(f"{located(fault) or found.where}: {in_a_line(fault)}")


def _picked(pick: str, where: str, model: nn.Module, given: Any, output: Any) -> Tensor:
    """That part of an output; an output that is one tensor, as of some networks in eval mode, as it is."""
    if isinstance(output, Tensor):
        return output
    try:
        if pick.isdecimal():
            chosen = output[int(pick)]
        else:
            chosen = output[pick] if isinstance(output, Mapping) else getattr(output, pick)
    except (LookupError, AttributeError, TypeError):
        raise RecipeError(f"{where}: #{pick} is no part of what it returns, {described(output)}") from None
    logits: Tensor = chosen
    return logits


def parts(output: Any) -> list[str]:
    """By what names the parts of a network's output are picked."""
    if isinstance(output, Mapping):
        return [str(name) for name in output]
    if isinstance(output, (tuple, list)):
        return [str(name) for name in getattr(output, "_fields", range(len(output)))]
    return [name for name, value in getattr(output, "__dict__", {}).items() if isinstance(value, Tensor)]


def described(output: Any) -> str:
    """What a network's output is, and its parts."""
    named = ", ".join(f"#{name}" for name in parts(output))
    return f"a {type(output).__name__}" + (f" of {named}" if named else "")
