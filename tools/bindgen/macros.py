"""The values of object-like macros, as far as they are constant expressions."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = int | float | bytes

_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)[uUlL]*")
_FLOAT = re.compile(r"([0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+\.(?:[eE][+-]?[0-9]+)?)[fFlL]?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

_BINARY: dict[str, tuple[int, Callable[[int | float, int | float], int | float]]] = {
    "|": (1, operator.or_),
    "^": (2, operator.xor),
    "&": (3, operator.and_),
    "<<": (4, operator.lshift),
    ">>": (4, operator.rshift),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
}
_UNARY: dict[str, Callable[[int | float], int | float]] = {
    "-": operator.neg,
    "+": operator.pos,
    "~": lambda value: ~int(value),
}


class NotConstantError(Exception):
    """The tokens are not a constant expression."""


def evaluate(tokens: Sequence[str], known: Mapping[str, Value]) -> Value:
    """Return what a macro body stands for.

    Args:
        tokens: The body of the macro.
        known: The values of the names that it may use.

    Raises:
        NotConstantError: It is code, an attribute, empty, or uses an unknown name.
    """
    if tokens and all(_STRING.fullmatch(token) for token in tokens):
        return b"".join(ast.literal_eval("b" + token) for token in tokens)
    expression = _Expression(tokens, known)
    value = expression.binary(0)
    if expression.rest:
        raise NotConstantError
    return value


class _Expression:
    """Precedence climbing over the tokens that are left, last first."""

    def __init__(self, tokens: Sequence[str], known: Mapping[str, Value]) -> None:
        self.rest = list(reversed(tokens))
        self.known = known

    def binary(self, weakest: int) -> int | float:
        left = self.operand()
        while self.rest and self.rest[-1] in _BINARY:
            strength, apply = _BINARY[self.rest[-1]]
            if strength < weakest:
                break
            self.rest.pop()
            left = apply(left, self.binary(strength + 1))
        return left

    def operand(self) -> int | float:
        if not self.rest:
            raise NotConstantError
        token = self.rest.pop()
        if token in _UNARY:
            return _UNARY[token](self.operand())
        if token == "(":
            value = self.binary(0)
            if not self.rest or self.rest.pop() != ")":
                raise NotConstantError
            return value
        if match := _INTEGER.fullmatch(token):
            digits = match[1]
            octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
            return int(digits, 8 if octal else 0)
        if match := _FLOAT.fullmatch(token):
            return float(match[1])
        number = self.known.get(token)
        if number is None or isinstance(number, bytes):
            raise NotConstantError
        return number
