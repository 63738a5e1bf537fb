"""What a value may be: a rule is a test and its words, and the error for a value that breaks one is one line."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, Union, get_args, get_origin

LARGEST = 10**4  # of a strength and such: beyond it nothing is measured but overflow


class ConfigError(ValueError):
    """One line about something that the user asked for and that cannot be."""


class Rule(NamedTuple):
    """A test of one value, and its words, as they stand after "must be"."""

    words: str
    holds: Callable[[Any], bool]


def refuse(path: str, words: str, value: Any) -> ConfigError:
    """The error for a value that breaks a rule, in one line."""
    shown = "null" if value is None else repr(value)
    return ConfigError(f"`{path}` must be {words}, got {shown}.")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that an unknown one was probably meant for; None where none is near.

    Example:
        >>> nearest("slak", ["slack", "strength"]), nearest("strength", ["target", "limit"])
        ('slack', None)
    """
    return next(iter(difflib.get_close_matches(name, [*known], n=1)), None)


def whole(value: Any) -> bool:
    """Whether a value is a whole number, which true and false are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


ANYTHING = Rule("anything", lambda value: True)
NULL = Rule("null", lambda value: value is None)
TRUE_OR_FALSE = Rule("true or false", lambda value: isinstance(value, bool))
WHOLE, NUMBER = Rule("a whole number", whole), Rule("a number", is_number)
TEXT = Rule("a text", lambda value: isinstance(value, str))
TEXT_NOT_BLANK = Rule("a text that is not blank", lambda value: isinstance(value, str) and bool(value.strip()))


def one_of(*names: Any) -> Rule:
    """The rule of a choice.

    Example:
        >>> one_of("silu", "relu").words, one_of("silu", "relu").holds("tanh")
        ('one of silu, relu', False)
    """
    return Rule(f"one of {', '.join(map(str, names))}", lambda value: isinstance(value, str) and value in names)


def whole_in(least: int, most: int) -> Rule:
    """The rule of whole numbers in a range, both ends included.

    Example:
        >>> whole_in(1, 8).words, whole_in(1, 8).holds(8), whole_in(1, 8).holds(True)
        ('a whole number in [1, 8]', True, False)
    """
    return Rule(f"a whole number in [{least}, {most}]", lambda value: whole(value) and least <= value <= most)


def at_least(least: int) -> Rule:
    """The rule of whole numbers of at least `least`."""
    return Rule(f"a whole number of at least {least}", lambda value: whole(value) and value >= least)


def number_in(low: float, high: float, ends: str = "[]") -> Rule:
    """The rule of numbers in a range; of its ends those are included that have a square bracket.

    Example:
        >>> number_in(0, 1, "(]").words, number_in(0, 1, "(]").holds(0), number_in(0, 1, "(]").holds(1)
        ('a number in (0, 1]', False, True)
    """

    def holds(value: Any) -> bool:
        at_end = (value == low and ends[0] == "(") or (value == high and ends[1] == ")")
        return is_number(value) and low <= value <= high and not at_end

    return Rule(f"a number in {ends[0]}{low:g}, {high:g}{ends[1]}", holds)


def list_of(item: Rule) -> Rule:
    """The rule of lists that are not empty, and hold values of one kind."""
    words = f"a list of {item.words.removeprefix('a ').replace('number', 'numbers', 1)}"
    return Rule(words, lambda value: isinstance(value, list | tuple) and bool(value) and all(map(item.holds, value)))


def or_null(rule: Rule) -> Rule:
    """The same rule, which null keeps as well."""
    return Rule(f"null or {rule.words}", lambda value: value is None or rule.holds(value))


_KINDS = {None: NULL, type(None): NULL, bool: TRUE_OR_FALSE, str: TEXT, int: WHOLE, float: NUMBER}


def rule_of(hint: Any) -> Rule:
    """The rule of the plain values that an annotation stands for; a dictionary with a `_target_` can be any object.

    Example:
        >>> rule = rule_of(Sequence[float] | str | None)
        >>> rule.words, rule.holds(None), rule.holds([0.5, 0.5]), rule.holds([True])
        ('null, a text or a list of numbers', True, True, False)
        >>> rule_of(float).holds(3), rule_of(float).holds(True)
        (True, False)
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        rules = [rule_of(part) for part in inner]
        *most, last = sorted({rule.words for rule in rules}, key=lambda text: (text != "null", len(text), text))
        return Rule(
            f"{', '.join(most)} or {last}" if most else last, lambda value: any(it.holds(value) for it in rules)
        )
    if kind in _KINDS:
        return _KINDS[kind]
    if not isinstance(kind, type):
        return ANYTHING  # Any, a type variable, a string: nothing is known
    if issubclass(kind, Mapping):
        return Rule("a dictionary", lambda value: isinstance(value, Mapping))
    if issubclass(kind, Sequence):
        item = rule_of(inner[0]) if inner else ANYTHING
        words = f"a list of {item.words.removeprefix('a ')}s" if inner else "a list"
        return Rule(words, lambda value: isinstance(value, list) and all(map(item.holds, value)))
    if kind.__module__ == "builtins":
        return ANYTHING
    return Rule("a part with a _target_", lambda value: isinstance(value, Mapping) and "_target_" in value)


def nodes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted path, value) of a nested value and of all that it holds; a list is a leaf, unless it holds a dictionary.

    Example:
        >>> [path for path, _ in nodes({"a": {"b": 1}, "c": [2], "d": [{"e": 3}]})]
        ['', 'a', 'a.b', 'c', 'd', 'd.0', 'd.0.e']
    """
    yield path, value
    if not _is_leaf(value):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from nodes(item, f"{path}.{key}" if path else str(key))


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves among `nodes`.

    Example:
        >>> list(walk({"a": {"b": 1}, "c": [2]}))
        [('a.b', 1), ('c', [2])]
    """
    return ((place, item) for place, item in nodes(value, path) if _is_leaf(item))


def mapped(value: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """A copy of a nested value with each of its plain values changed.

    Args:
        value: Dictionaries and lists in each other.
        change: From a dotted path and the plain value there to the new one; what stands in a list has the path of the list.
        path: That of the value itself.

    Example:
        >>> mapped({"a": [1, 2], "b": {"c": 3}}, lambda path, it: f"{path}={it}")
        {'a': ['a=1', 'a=2'], 'b': {'c': 'b.c=3'}}
    """
    if isinstance(value, Mapping):
        return {key: mapped(item, change, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    return [mapped(item, change, path) for item in value] if isinstance(value, list) else change(path, value)


def _is_leaf(value: Any) -> bool:
    if isinstance(value, list):
        return not any(isinstance(item, Mapping | list) for item in value)
    return not isinstance(value, Mapping)
