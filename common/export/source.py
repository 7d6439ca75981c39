"""A network as Python source that needs torch alone.

Every module that is not torch's own is traced by `torch.fx`, the modules in it being calls: what it computes becomes
the `forward` of a class of the same name, and what it holds the arguments of a nested constructor. So the source has as
many classes as the network has kinds of modules, keeps the names of all parameters, and says every size as a number.
Copying our own classes instead would bring along what they are made for (any architecture, taps, drop path) and numpy.
"""

from __future__ import annotations

import builtins
import inspect
import operator
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from common.errors import InputError

INFIX: dict[Any, str] = {
    operator.add: "+", operator.iadd: "+", operator.sub: "-", operator.mul: "*", operator.imul: "*",
    operator.truediv: "/", operator.floordiv: "//", operator.mod: "%", operator.pow: "**", operator.matmul: "@",
}  # fmt: skip
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
LINE, SHORT = 80, 30  # characters: of brackets on one line; of what is repeated rather than counted
LITERAL = 64  # numbers of a tensor that is written down

HEAD = '''"""{title}

{text}

Written by `python -m rminas.export`; needs torch alone. `build()` makes the network, `load()` with the weights beside
this file. Images are (B, 3, {size}, {size}), the output is (B, {classes}).
"""

{imports}from pathlib import Path

import torch
from torch import nn{functional}


class Parts(nn.Module):
    """A module of named parts."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
'''
TAIL = '''

def build():
    """The network with fresh weights."""
    return {expression}


def load(weights=Path(__file__).with_suffix(".pt")):
    """The network with the weights of a file, ready to classify."""
    network = build()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


if __name__ == "__main__":
    network = build().eval()
    images = torch.zeros(1, 3, {size}, {size})
    print(sum(p.numel() for p in network.parameters()), "parameters,", tuple(network(images).shape), "out")
'''


def network_source(network: nn.Module, title: str, text: str, image_size: int, num_classes: int) -> str:
    """The source of a network, in eval mode (what drops out in training only is left out).

    Raises: InputError for a module that cannot be traced, as its way depends on values, or cannot be written down.
    """
    written = _Written()
    was_training = network.training
    try:
        expression = written.expression(network.eval(), {})
    finally:
        network.train(was_training)
    sizes = {"size": image_size, "classes": num_classes}
    classes = "".join(f"\n\nclass {name}(Parts):\n{forward}\n" for (_, forward), name in written.classes.items())
    body = classes + TAIL.format(expression=expression.replace("\n", "\n    "), **sizes)
    imports = "from collections import OrderedDict\n" if "OrderedDict(" in body else ""
    functional = "\nfrom torch.nn import functional as F" if "F." in body else ""
    text = text.replace("\\", "/")
    return HEAD.format(title=title, text=text, imports=imports, functional=functional, **sizes) + body


class _Written:
    """What has been written so far. classes: by the original's name and the text of `forward`, the name of a class."""

    def __init__(self) -> None:
        self.classes: dict[tuple[str, str], str] = {}

    def expression(self, module: nn.Module, constants: dict[str, Any]) -> str:
        """What constructs a module. constants: arguments of its `forward` that are always the same."""
        kind = type(module)
        if kind in CONTAINERS:
            return self._container(module, "", {})
        if kind.__module__.startswith("torch.nn."):
            return _constructor(module)
        graph = _trace(module, constants)
        used = {str(node.target): _constants(module, node) for node in graph.nodes if node.op == "call_module"}
        parts = {name: self._child(child, name, used) for name, child in module.named_children()}
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            parts[name] = _tensor(module, name, tensor)
        name = self._class_name(kind.__name__, _forward(module, graph))
        return name + _brackets("()", [f"{part}={made}" for part, made in parts.items()])

    def _child(self, child: nn.Module, path: str, used: dict[str, dict[str, Any]]) -> str:
        """used: of the modules that the traced one calls, by path, the arguments that are always the same."""
        if type(child) in (nn.ModuleList, nn.ModuleDict):
            return self._container(child, path, used)
        return self.expression(child, used.get(path, {}))

    def _container(self, module: nn.Module, path: str, used: dict[str, dict[str, Any]]) -> str:
        made = {name: self._child(child, f"{path}.{name}", used) for name, child in module.named_children()}
        if type(module) is nn.ModuleDict:
            return f"nn.ModuleDict({_brackets('{}', [f'{name!r}: {text}' for name, text in made.items()])})"
        if [*made] == [str(number) for number in range(len(made))]:
            items = _runs([*made.values()])
            if type(module) is nn.ModuleList:
                return f"nn.ModuleList({_brackets('[]', items)})"
            return "nn.Sequential" + _brackets("()", items)
        return f"nn.Sequential(OrderedDict({_brackets('[]', [f'({name!r}, {text})' for name, text in made.items()])}))"

    def _class_name(self, name: str, forward: str) -> str:
        if (name, forward) not in self.classes:
            taken = {"Parts", *self.classes.values()}
            made, number = name, 1
            while made in taken:
                number += 1
                made = f"{name}{number}"
            self.classes[name, forward] = made
        return self.classes[name, forward]


def _constructor(module: nn.Module) -> str:
    """`nn.Conv2d(3, 16, 3, padding=1, bias=False)` of one of torch's modules, by the attributes that it keeps."""
    arguments: list[str] = []
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", "device", "dtype", "args", "kwargs") or not hasattr(module, name):
            continue
        needed = parameter.default is inspect.Parameter.empty
        value = _plain(getattr(module, name))
        if needed:
            arguments.append(repr(value))
        elif value != parameter.default and not (value is False and parameter.default is None):
            arguments.append(f"{name}={value!r}")
    return f"nn.{type(module).__name__}({', '.join(arguments)})"


def _plain(value: Any) -> Any:
    """An argument from an attribute: whether there is a bias, one number for two equal ones."""
    if value is None or isinstance(value, Tensor):
        return value is not None
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


class _Tracer(fx.Tracer):
    """Sees one module alone: what is in it are calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _trace(module: nn.Module, constants: dict[str, Any]) -> fx.Graph:
    try:
        graph = _Tracer().trace(module, concrete_args=constants or None)
    except Exception as error:  # of the user's code, or of fx
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{type(module).__name__} cannot be written as source ({reason}): export to .pt2 or .onnx"
        ) from None
    for node in reversed(list(graph.nodes)):
        if node.target is torch._assert:  # that a constant argument is what it was
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):  # features that nobody asked for
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return graph


def _constants(module: nn.Module, node: fx.Node) -> dict[str, Any]:
    """Arguments of a call to a module inside of `module` that are not computed, by name."""
    called = module.get_submodule(str(node.target))
    names = list(inspect.signature(called.forward).parameters)
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    return {name: value for name, value in given.items() if not _computed(value)}


def _computed(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_computed, value))
    return isinstance(value, fx.Node)


def _forward(module: nn.Module, graph: fx.Graph) -> str:
    """The method, one line an operation."""
    lines: list[str] = []
    arguments: list[str] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            if node.users:
                arguments.append(node.name)
        elif node.op == "output":
            lines.append(f"return {_value(node.args[0])}")
        else:
            lines.append(f"{node.name} = {_operation(module, node)}")
    body = "".join(f"\n        {line}" for line in lines)
    return f"    def forward(self, {', '.join(arguments)}):{body}"


def _operation(module: nn.Module, node: fx.Node) -> str:
    if node.op == "get_attr":
        if not hasattr(module, str(node.target).partition(".")[0]):
            raise InputError(
                f"{type(module).__name__} cannot be written as source (it computes with constants): export to .pt2 or "
                ".onnx"
            )
        return _path(module, str(node.target))
    if node.op == "call_module":
        constant = _constants(module, node)
        names = list(inspect.signature(module.get_submodule(str(node.target)).forward).parameters)
        given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        own = type(module.get_submodule(str(node.target))).__module__.startswith("torch.nn.")
        inputs = [_value(value) for name, value in given.items() if own or name not in constant]
        return f"{_path(module, str(node.target))}({', '.join(inputs)})"
    arguments = [*map(_value, node.args), *(f"{name}={_value(value)}" for name, value in node.kwargs.items())]
    if node.op == "call_method":
        return f"{arguments[0]}.{node.target}({', '.join(arguments[1:])})"
    function: Any = node.target
    if function in INFIX:
        return f"{arguments[0]} {INFIX[function]} {arguments[1]}"
    if function is operator.neg:
        return f"-{arguments[0]}"
    if function is operator.getitem:
        return f"{arguments[0]}[{_index(node.args[1])}]"
    if function is builtins.getattr:
        return f"{arguments[0]}.{node.args[1]}"
    return f"{_name_of(function)}({', '.join(arguments)})"


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    for home, said in ((torch, "torch"), (F, "F"), (builtins, "")):
        if getattr(home, name, None) is function:
            return f"{said}.{name}" if said else name
    raise InputError(f"the function {name or function} cannot be written as source: export to .pt2 or .onnx")


def _path(module: nn.Module, target: str) -> str:
    """`self.ops[0]` for `ops.0`."""
    text, at = "self", module
    for part in target.split("."):
        if isinstance(at, (nn.ModuleList, nn.Sequential)) and part.isdigit():
            text += f"[{part}]"
        elif isinstance(at, nn.ModuleDict):
            text += f"[{part!r}]"
        else:
            text += f".{part}"
        at = getattr(at, part)
    return text


def _value(value: Any) -> str:
    if isinstance(value, fx.Node):
        return value.name
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(_value, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, slice):
        return f"slice({_value(value.start)}, {_value(value.stop)}, {_value(value.step)})"
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value) if isinstance(value, torch.dtype) else f"torch.{value!r}"
    return repr(value)


def _index(index: Any) -> str:
    """What stands in brackets."""

    def one(part: Any) -> str:
        if not isinstance(part, slice):
            return _value(part)
        ends = ["" if end is None else _value(end) for end in (part.start, part.stop)]
        return ":".join(ends if part.step is None else [*ends, _value(part.step)])

    return ", ".join(map(one, index)) if isinstance(index, tuple) else one(index)


def _tensor(module: nn.Module, name: str, tensor: Tensor) -> str:
    if tensor.numel() > LITERAL:
        raise InputError(
            f"{type(module).__name__}.{name}: {tensor.numel()} numbers of its own are too many for source: export to "
            ".pt2 or .onnx, or keep them in one of torch's modules"
        )
    text = f"torch.tensor({tensor.detach().cpu().tolist()!r}, dtype={tensor.dtype})"
    return f"nn.Parameter({text})" if isinstance(tensor, nn.Parameter) else f"nn.Buffer({text})"


def _runs(items: Sequence[str]) -> list[str]:
    """Equal items that follow each other as one that is repeated."""
    found = []
    for text, those in groupby(items):
        count = len(list(those))
        found += [f"*({text} for _ in range({count}))"] if count > 1 and len(text) > SHORT else [text] * count
    return found


def _brackets(pair: str, items: Sequence[str]) -> str:
    """Items in brackets, on one line where they fit, else one a line."""
    flat = ", ".join(items)
    if len(flat) < LINE and "\n" not in flat:
        return pair[0] + flat + pair[1]
    shifted = "".join("    " + item.replace("\n", "\n    ") + ",\n" for item in items)
    return f"{pair[0]}\n{shifted}{pair[1]}"
