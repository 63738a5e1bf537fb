"""Holds a value of a configuration against the annotation of the argument that it is for."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from selfdebias.config.rules import is_number, whole

_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}


def hints_of(target: type) -> dict[str, Any]:
    """The annotations of a class's keyword arguments, also of those that it hands on to its base classes.

    Example:
        >>> class Base:
        ...     def __init__(self, *, steps: int = 1) -> None: ...
        >>> class Part(Base):
        ...     def __init__(self, name: str, **common: int) -> None: ...
        >>> hints_of(Part)
        {'steps': <class 'int'>, 'name': <class 'str'>}
    """
    hints: dict[str, Any] = {}
    for base in reversed(target.__mro__):
        made = vars(base).get("__init__")
        if made is not None and base is not object:
            try:
                own = get_type_hints(made)
            except (NameError, TypeError):  # of what is imported for the type checker alone
                own = {}
            code = getattr(made, "__code__", None)
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
            hints |= {name: hint for name, hint in own.items() if name in names}
    return hints


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can be what an annotation says; a dictionary with a `_target_` can be any object.

    Example:
        >>> fits(3, float), fits(True, float), fits(None, str), fits([0.5, 0.5], Sequence[float] | str | None)
        (True, False, False, True)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if hint is None or hint is type(None):
        return value is None
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return whole(value)
    if hint is float:
        return is_number(value)
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return isinstance(value, list) and (not inner or all(fits(item, inner[0]) for item in value))
    if isinstance(kind, type) and kind.__module__ != "builtins":
        return isinstance(value, Mapping) and "_target_" in value
    return True  # Any, a type variable, a string: nothing is known


def in_words(hint: Any) -> str:
    """What an annotation asks for.

    Example:
        >>> in_words(Sequence[float] | str | None), in_words(int)
        ('null, a text or a list of numbers', 'a whole number')
    """
    words = sorted(dict.fromkeys(_words(hint)), key=lambda word: (word != "null", len(word)))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(hint: Any) -> list[str]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [word for part in inner for word in _words(part)]
    if origin is Literal:
        return [str(item) for item in inner]
    kind = origin or hint
    if kind in _WORDS:
        return [_WORDS[kind]]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return ["a dictionary"]
    if isinstance(kind, type) and issubclass(kind, Sequence):
        item = _words(inner[0])[0].removeprefix("a ") if inner else ""
        return [f"a list of {item}s" if item else "a list"]
    return ["a part with a _target_"]
