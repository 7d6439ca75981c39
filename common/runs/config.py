"""Settings as nested frozen dataclasses: read from YAML in any of several dialects, overridden by KEY VALUE pairs.

A key is the path of field names in capitals, `OPTIM.BASE_LR` for `config.optim.base_lr`. Other names for the same
setting are data (an alias table), and so are keys that other programs' files hold and that decide nothing here.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError
from common.inputs import read_yaml

Config = TypeVar("Config")
Check = tuple[Callable[[Any], bool], str]  # what must hold of a value, and how to say it

LARGEST = 10**7  # of whole numbers that nothing else bounds: more can neither be counted through nor held
LAST_SEED = 2**63 - 1
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def key(default: Any, help_text: str, check: Check | None = None) -> Any:
    """A field of a config dataclass: its default, a line of help, and what must hold of its value."""
    return field(default=default, metadata={"help": help_text, "check": check})


def one_of(*choices: str) -> Check:
    return (lambda value: value in choices), f"one of {', '.join(choices)}"


def member_of(registry: Collection[str], joined: bool = False) -> Check:
    """A name in a registry, or the import path of a user's own; `joined`: or several of them joined by +."""
    known = ", ".join(sorted(registry))
    said = f"one of {known}, or your own as my_module:NAME" + (", or several joined by +" if joined else "")
    return (lambda value: all(n in registry or ":" in n for n in (value.split("+") if joined else [value]))), said


def at_least(low: float) -> Check:
    return (lambda value: value >= low), f"at least {low:g}"


def above(low: float) -> Check:
    return (lambda value: value > low), f"above {low:g}"


def between(low: float, high: float) -> Check:
    return (lambda value: low <= value <= high), f"from {low:g} to {high:g}"


SEED = between(0, LAST_SEED)
SHARE: Check = (lambda value: 0 < value <= 1), "above 0 and at most 1"
# Of what is joined to a folder: empty, or a path that stays in it.
INSIDE: Check = (
    lambda name: not name or (bool(Path(name).parts) and not Path(name).is_absolute() and ".." not in Path(name).parts),
    "the name of a folder in OUT_DIR, without .. and no / before it",
)


@dataclass(frozen=True)
class Dialects:
    """Other names: of keys, of the values of a key, and keys that are accepted and decide nothing (with the reason)."""

    keys: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    without_effect: Mapping[str, str]


def load_config(
    cls: type[Config],
    path: Path | None,
    overrides: Sequence[tuple[str, str]],
    dialects: Dialects,
    defaults_for: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda settings: {},
) -> tuple[Config, list[str]]:
    """The settings of a YAML file (None for the defaults) with overrides, and notes on keys without effect.

    Args: defaults_for: from the settings by key to the defaults that follow from some of them; what the file or the
        command line says stands above these.
    Raises: InputError naming the key (with the nearest known one when it is unknown), the value and what is expected.
    """
    settings = _defaults(cls)
    notes: list[str] = []
    origin: dict[str, str] = {}
    given = [] if path is None else [(k, v, str(path)) for k, v in _read_yaml(path)]
    for name, value, where in [*given, *((k, v, "command line") for k, v in overrides)]:
        upper = name.upper()
        if upper in dialects.without_effect:
            notes.append(f"{where}: {upper} has no effect: {dialects.without_effect[upper]}")
            continue
        known = dialects.keys.get(upper, upper)
        if known not in settings:
            name = _shown(name)[1:-1]
            raise InputError(f"{where}: unknown key {name}{_nearest(upper, [*settings, *dialects.keys])}")
        parsed = _parse(settings[known][0], value, f"{where}: {name}")
        parsed = dialects.values.get(known, {}).get(parsed, parsed)
        _check(settings[known][0], parsed, f"{where}: {name}")
        if origin.get(known, name) != name and where != "command line" and settings[known][1] != parsed:
            raise InputError(f"{where}: {origin[known]} and {name} mean the same and differ: keep one of them")
        settings[known] = (settings[known][0], parsed)
        origin[known] = name
    values = {name: value for name, (_, value) in settings.items()}
    implied = {name: value for name, value in defaults_for(values).items() if name not in origin}
    return _assemble(cls, values | implied), notes


def make_settings(cls: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """The settings with some values by field name, read and checked as those of a file or a flag are.

    Args: where: how a message begins ("predictor boosting").
    Raises: InputError naming the setting (with the nearest known one when it is unknown), the value and what is
    expected.
    """
    settings = _defaults(cls)
    for name, value in values.items():
        known = name.upper()
        if known not in settings:
            raise InputError(f"{where}: unknown setting {name}{_nearest(known, [*settings])}")
        made = settings[known][0]
        settings[known] = made, read_setting(made, value, f"{where}: {name}")
    return _assemble(cls, {name: value for name, (_, value) in settings.items()})


def read_setting(made: Field[Any], value: Any, where: str) -> Any:
    """`value` as the type of a field's default, checked. Raises InputError saying what is expected."""
    parsed = _parse(made, value.item() if hasattr(value, "item") else value, where)
    _check(made, parsed, where)
    return parsed


def nested(config: Any) -> dict[str, Any]:
    """The settings as nested dictionaries with the keys in capitals, as YAML holds them."""
    return {
        f.name.upper(): nested(value) if is_dataclass(value := getattr(config, f.name)) else value
        for f in fields(config)
    }


def keys_of(cls: type) -> list[str]:
    """All keys of a config dataclass, in order."""
    return [*_defaults(cls)]


def describe(cls: type) -> str:
    """All keys with their defaults and help, a line each."""
    return "\n".join(
        f"  {name:24} {made.metadata['help']} (default: {made.default!r})" for name, (made, _) in _defaults(cls).items()
    )


def pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Trailing `KEY VALUE` words in twos. Raises InputError when a key lacks its value."""
    if len(words) % 2:
        raise InputError(f"settings come as KEY VALUE pairs: {words[-1]!r} has no value")
    return list(zip(words[::2], words[1::2], strict=True))


def _defaults(cls: type, prefix: str = "") -> dict[str, tuple[Field[Any], Any]]:
    found: dict[str, tuple[Field[Any], Any]] = {}
    for f in fields(cls):
        name = prefix + f.name.upper()
        if is_dataclass(f.default):
            found |= _defaults(type(f.default), name + ".")
        else:
            found[name] = (f, f.default)
    return found


def _assemble(cls: type[Config], values: Mapping[str, Any], prefix: str = "") -> Config:
    made: dict[str, Any] = {}
    for f in fields(cls):  # type: ignore[arg-type]
        name = prefix + f.name.upper()
        made[f.name] = _assemble(type(f.default), values, name + ".") if is_dataclass(f.default) else values[name]
    return cls(**made)


def _read_yaml(path: Path) -> Iterator[tuple[str, Any]]:
    read = read_yaml(path)
    if not isinstance(read, dict):
        raise InputError(f"{path}: expected settings as KEY: value, found {type(read).__name__}")
    return _flat(read, path)


def _flat(tree: dict[Any, Any], path: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, path, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _parse(made: Field[Any], value: Any, where: str) -> Any:
    """`value` as the type of the field's default; text is read as a flag's would be (YAML takes 5e-4 for text)."""
    wanted: Any = type(made.default)
    try:
        if wanted is str and not isinstance(value, (list, bool)):
            if "\0" in (text := "" if value is None else str(value)):  # no file system takes it
                raise ValueError
            return text
        if isinstance(value, str):
            if wanted is bool:
                return {"true": True, "false": False}[value.lower()]
            number = wanted(value)
            if math.isfinite(number):
                return number
        elif (type(value) is wanted or (wanted is float and type(value) is int)) and math.isfinite(value):
            return wanted(value)
    except (ValueError, KeyError, OverflowError):
        pass
    raise InputError(f"{where} is {_shown(value)}, expected {EXPECTED[wanted]}")


def _check(made: Field[Any], value: Any, where: str) -> None:
    check = made.metadata["check"]
    if type(value) is int and abs(value) > LARGEST and not (check is not None and check[1] == SEED[1]):
        raise InputError(f"{where} is {_shown(value)}, expected at most {LARGEST:,}")
    if check is not None and not check[0](value):
        raise InputError(f"{where} is {_shown(value)}, expected {check[1]}")


def _shown(value: Any) -> str:
    return said if len(said := repr(value)) <= 100 else said[:100] + "..."


def _nearest(name: str, known: Sequence[str]) -> str:
    """The nearest known key in words, by its whole path or else by its last part; empty when nothing is near."""
    near = difflib.get_close_matches(name, known, 1, 0.6)
    if not near:
        last = {k.rpartition(".")[2]: k for k in known}
        near = [last[k] for k in difflib.get_close_matches(name.rpartition(".")[2], list(last), 1, 0.6)]
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"
