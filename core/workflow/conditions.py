"""The conditions of compiled Kubeflow pipelines: the part of CEL that their compiler writes, read strictly and decided on values instead of on text.

    inputs.parameter_values['a'] == 'x' && !(int(inputs.parameter_values['b']) > 3)

Imports nothing but the standard library: a worker reads them too, in an interpreter of its own.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_CHARS, MAX_DEPTH = 10_000, 40
_TOKEN = re.compile(r"\s*(?:(?P<input>inputs\.parameter_values\[(?:'([^']*)'|\"([^\"]*)\")\])|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
                    r"|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<sign>&&|\|\||[=!<>]=|[<>!()])|(?P<word>[a-z]+))")  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_CONSTANTS: Mapping[str, object] = {"true": True, "false": False}
_CASTS: Mapping[str, Callable[[object], object]] = {
    "int": lambda value: int(float(str(value))),
    "double": lambda value: float(str(value)),
    "string": str,
}

Lookup = Callable[[str], object]
Condition = Callable[[Lookup], object]


def read_condition(text: str) -> Condition:
    """What decides it, given where values are found by name. Deciding raises ValueError for texts beside numbers, and whatever the lookup raises.

    Raises: ValueError for anything but comparisons of inputs, texts, numbers, true and false, joined by && and || and turned round by !.
    """
    return _Reading(text).all()


class _Reading:
    """Goes through a text once, from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CHARS:
            raise ValueError("It is longer than any that a compiler writes.")
        self._text, self._at, self._depth = text, 0, 0
        self._next()

    def _next(self) -> None:
        rest = self._text[self._at :]
        found = _TOKEN.match(rest)
        if found is None and rest.strip():
            raise ValueError(f"{rest.strip()[:40]!r} is not understood.")
        self._kind, self._token, self._name = "", "", ""
        if found is not None:
            self._kind = str(found.lastgroup)
            self._token = str(found[self._kind])
            self._name = found[2] or found[3] or ""
            self._at += found.end()

    def all(self) -> Condition:
        condition = self._joined("||", lambda: self._joined("&&", self._one))
        if self._kind:
            raise ValueError(f"{self._token!r} is not expected there.")
        return condition

    def _joined(self, sign: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self._token == sign and self._kind == "sign":
            self._next()
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        if sign == "&&":
            return lambda lookup: all([_truth(one(lookup)) for one in parts])
        return lambda lookup: any([_truth(one(lookup)) for one in parts])

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError("It is nested too deeply.")
        try:
            if self._kind == "sign" and self._token == "!":  # noqa: S105
                self._next()
                turned = self._one()
                return lambda lookup: not _truth(turned(lookup))
            if self._kind == "sign" and self._token == "(":  # noqa: S105
                self._next()
                inner = self._joined("||", lambda: self._joined("&&", self._one))
                self._demand(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        left = self._operand()
        if self._token not in _COMPARISONS or self._kind != "sign":
            return left
        compare = _COMPARISONS[self._token]
        self._next()
        right = self._operand()
        return lambda lookup: _compared(compare, left(lookup), right(lookup))

    def _operand(self) -> Condition:
        kind, token, name = self._kind, self._token, self._name
        self._next()
        if kind == "input":
            return lambda lookup: lookup(name)
        if kind == "text":
            return lambda _lookup: token[1:-1]
        if kind == "number":
            return lambda _lookup: float(token)
        if kind == "word" and token in _CONSTANTS:
            return lambda _lookup: _CONSTANTS[token]
        if kind == "word" and token in _CASTS:
            self._demand("(")
            inner = self._operand()
            self._demand(")")
            return lambda lookup: _CASTS[token](inner(lookup))
        raise ValueError(f"{token or 'the end'!r} is not expected there.")

    def _demand(self, sign: str) -> None:
        if self._token != sign or self._kind != "sign":
            raise ValueError(f"{sign!r} is missing.")
        self._next()


def _compared(compare: Callable[[object, object], object], left: object, right: object) -> object:
    if _kind_of(left) != _kind_of(right):
        raise ValueError(f"{_kind_of(left)} can't be compared with {_kind_of(right).lower()}.")
    return compare(left, right)


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "True or false"
    if isinstance(value, (int, float)):
        return "A number"
    return "A text" if isinstance(value, str) else "Nothing" if value is None else "A list or an object"


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_kind_of(value)} is neither true nor false.")
    return value
