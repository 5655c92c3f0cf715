"""What the headers declare, in the terms that the emitters need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Void:
    """No value: the result of a ``void`` function."""


@dataclass(frozen=True)
class Scalar:
    """A number, a bool or an enum. ``name`` is the ctypes class."""

    name: str


@dataclass(frozen=True)
class Text:
    """``char *``."""

    const: bool


@dataclass(frozen=True)
class Address:
    """A pointer to something that no header shows: ``void *``, ``FILE *``."""


@dataclass(frozen=True)
class Handle:
    """A pointer to a struct that callers pass around and never look into."""

    kind: str
    struct: str | None = None


@dataclass(frozen=True)
class RecordType:
    """A struct or union by value."""

    name: str


@dataclass(frozen=True)
class CallbackType:
    """A pointer to a function."""

    name: str


@dataclass(frozen=True)
class PointerTo:
    """A pointer to anything that has a ctypes class."""

    target: Type


@dataclass(frozen=True)
class ArrayOf:
    """An array whose length the header states."""

    element: Type
    length: int


Type: TypeAlias = (
    Void | Scalar | Text | Address | Handle | RecordType | CallbackType | PointerTo | ArrayOf
)


@dataclass(frozen=True)
class Field:
    """A member of a record, and where libclang says it lies."""

    name: str
    type: Type
    offset: int
    size: int
    anonymous: bool = False


@dataclass(frozen=True)
class Record:
    """A struct or union whose members the headers show.

    ``c_name`` is how C spells the type; for a ``nested`` one, which has no name in C, it is the
    member of another record that has this type.
    """

    name: str
    c_name: str
    nested: bool
    union: bool
    fields: tuple[Field, ...]
    size: int
    alignment: int


@dataclass(frozen=True)
class Callback:
    """A function type that callers implement."""

    name: str
    result: Type
    parameters: tuple[Type, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function."""

    name: str
    type: Type
    nullable: bool


@dataclass(frozen=True)
class Function:
    """A function that a library exports."""

    name: str
    result: Type
    parameters: tuple[Parameter, ...]
    variadic: bool
    prototype: str


@dataclass(frozen=True)
class Constant:
    """An enum value, or a macro that stands for a value."""

    name: str
    value: int | float | bytes


@dataclass(frozen=True)
class SizeConstant:
    """A constant that is the size of a record."""

    name: str
    record: str
    value: int


@dataclass(frozen=True)
class Kind:
    """The Python class for pointers to one opaque struct."""

    name: str
    c_name: str
    struct: str | None


@dataclass(frozen=True)
class Alias:
    """A typedef of something that is not a record, a handle or a callback."""

    name: str
    type: Type


@dataclass
class Module:
    """Everything that goes into one generated module, in the order of the headers."""

    name: str
    headers: list[str] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    sizes: list[SizeConstant] = field(default_factory=list)
    aliases: list[Alias] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    callbacks: list[Callback] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)
    unlisted: list[str] = field(default_factory=list)
    extra_names: dict[str, str] = field(default_factory=dict)
