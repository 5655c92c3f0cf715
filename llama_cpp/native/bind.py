"""Typed pointers, callbacks and lazily bound functions: what the generated tables are made of.

A native function stays a real ctypes function pointer with ``argtypes`` and ``restype`` set, so
that it can be cast and handed to other native code. Five things are added:

* A pointer to an opaque struct is an ``int`` subclass of its own, so that a context is refused
  where a model is wanted, and NULL where a handle is needed.
* Binding happens on first use: importing costs nothing for functions that are never called.
* A function that the loaded library lacks becomes a stub that raises when it is called.
* The parameter names of the header may be used as keywords; ``inspect.signature`` knows them.
* A callback that native code stores stays alive for as long: see ``callbacks``.
"""

from __future__ import annotations

import ctypes
import functools
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from ..errors import PointerTypeError, SymbolMissingError
from .callbacks import CallbackParameter as CallbackParameter
from .callbacks import keep_callbacks

if TYPE_CHECKING:
    import inspect

    _CFuncPtr = Any
else:
    _CFuncPtr = ctypes._CFuncPtr


class Pointer(int):
    """The address of a native object of one kind. A subclass names the kind.

    Results of native functions are of these types, or None for NULL. A plain int is accepted
    wherever a pointer is, but only a typed one can be checked.
    """

    from_param: Any
    struct: type[ctypes.Structure] | None = None

    def __init_subclass__(cls) -> None:
        # Only an instance of this very kind has the attribute, so that ctypes checks the kind and
        # gets the C value in one lookup, without entering the interpreter.
        if not hasattr(cls, "_slot"):  # a subclass of a kind is of that kind
            cls._slot = f"_as_{cls.__name__}"
            cls.from_param = attrgetter(cls._slot)

    _slot: str

    def __init__(self, address: int) -> None:
        setattr(self, self._slot, ctypes.c_void_p(address))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self):#x})"

    @property
    def contents(self) -> Any:
        """The struct at this address, for the kinds whose layout the headers show."""
        if self.struct is None:
            raise AttributeError(f"a {type(self).__name__} is opaque: its layout is not public")
        return self.struct.from_address(self)


class Nullable:
    """A parameter that takes a pointer of one kind, or NULL."""

    def __init__(self, kind: type[Pointer]) -> None:
        self.kind = kind
        self.from_param = kind.from_param


# What ctypes must know of one C function (restype, argtypes), and its prototype for people.
Signature: TypeAlias = tuple[Any, tuple[Any, ...], str]


def _address(value: Any) -> int | None:
    """The address that a caller means by something that is not a typed pointer."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, ctypes.c_void_p):
        return value.value or 0
    if isinstance(value, ctypes._Pointer):
        return ctypes.cast(value, ctypes.c_void_p).value or 0
    return None


class Function(_CFuncPtr):  # type: ignore[misc]
    """A native function. Its docstring is the C prototype."""

    _flags_ = ctypes._FUNCFLAG_CDECL  # type: ignore[attr-defined]
    _restype_ = ctypes.c_int

    _conversions: Mapping[type[Pointer], Mapping[type[Pointer], Callable[[Any], Any]]] = {}
    _declared: Signature = (ctypes.c_int, (), "")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the native function.

        Args:
            *arguments: In the order of the header.
            **named: By the names of the header; one that is a keyword of Python ends with ``_``.

        Raises:
            PointerTypeError: A pointer of another kind, or NULL where the function needs a handle.
            TypeError: A named argument is unknown, missing or given twice.
        """
        if named:
            arguments = self._in_order(arguments, named)
        try:
            return self._native(*arguments)
        except ctypes.ArgumentError:
            # Whatever is not a typed pointer of the right kind comes here: NULL, plain addresses,
            # handles, a model in place of its vocabulary. Nothing native has run yet.
            converted = self._convert(arguments)
        try:
            return self._native(*converted)
        except ctypes.ArgumentError as error:
            raise PointerTypeError(f"{self.__name__}: {error}. Prototype: {self.__doc__}") from None

    @functools.cached_property
    def _native(self) -> Callable[..., Any]:
        # `_CFuncPtr.__call__(self, *arguments)` would copy the arguments twice, at each call.
        call: Callable[..., Any] = _CFuncPtr.__call__.__get__(self)
        return call

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, as in the header."""
        return tuple(name for _, name in parse_parameters(self._declared[2]))

    @property
    def __signature__(self) -> inspect.Signature:
        return _signature_of(*self._declared)

    def __repr__(self) -> str:
        name = getattr(self, "__name__", "of no library")
        return f"<native function {name}({', '.join(self.parameters)})>"

    def _in_order(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        rest = self.parameters[len(arguments) :]
        faults = [
            f"the argument {name!r} is {'given twice' if name in self.parameters else 'unknown'}"
            for name in named
            if name not in rest
        ]
        if missing := [name for name in rest if name not in named]:
            faults.append(f"{', '.join(missing)} is missing")
        if faults:
            raise TypeError(f"{self.__name__}: {'; '.join(faults)}. Prototype: {self.__doc__}")
        return (*arguments, *(named[name] for name in rest))

    def _convert(self, arguments: Sequence[Any]) -> list[Any]:
        converted = list(arguments)
        pairs = zip(self.argtypes or (), arguments, strict=False)  # C takes more than it declares
        for index, (parameter, value) in enumerate(pairs):
            nullable = isinstance(parameter, Nullable)
            kind = parameter.kind if nullable else parameter
            if not (isinstance(kind, type) and issubclass(kind, Pointer)):
                continue
            converted[index] = self._to_pointer(index, kind, nullable, value)
        return converted

    def _to_pointer(
        self, index: int, kind: type[Pointer], nullable: bool, value: Any
    ) -> Pointer | None:
        if not isinstance(value, Pointer) and hasattr(value, "_as_parameter_"):
            value = value._as_parameter_
        if isinstance(value, kind):
            return value
        if isinstance(value, Pointer):
            conversions = self._conversions.get(kind, {})
            convert = next((conversions[k] for k in type(value).__mro__ if k in conversions), None)
            if convert is None:
                self._refuse(index, kind, f"is a {type(value).__name__}")
            return kind(convert(value))
        address = 0 if value is None else _address(value)
        if address is None:
            self._refuse(index, kind, f"is {value!r}, of type {type(value).__name__}")
        if address == 0 and not nullable:
            self._refuse(index, kind, "is NULL")
        return kind(address)

    def _refuse(self, index: int, kind: type[Pointer], what: str) -> NoReturn:
        raise PointerTypeError(
            f"{self.__name__}: argument {index + 1} {what}, expected a {kind.__name__}. "
            f"Prototype: {self.__doc__}"
        )


def converts(source: type[Pointer], target: type[Pointer], convert: Callable[[Any], Any]) -> None:
    """Let a pointer of kind ``source`` stand where ``target`` is wanted, in every function."""
    table = dict(Function._conversions)
    table[target] = {**table.get(target, {}), source: convert}
    Function._conversions = table


def after(function: Any, react: Callable[[tuple[Any, ...]], None]) -> None:
    """Have ``react`` called with the arguments of each call of a function, once C has returned."""
    earlier = getattr(function, "errcheck", None)  # a stub for a missing function has none

    def errcheck(result: Any, called: Any, arguments: tuple[Any, ...]) -> Any:
        react(arguments)
        return earlier(result, called, arguments) if earlier else result

    function.errcheck = errcheck


_PARAMETER = re.compile(r"(?P<type>.+?) ?\b(?P<name>\w+)(\[\d*\])*")


def parse_parameters(prototype: str) -> list[tuple[str, str]]:
    """Return the C type and the Python name of each parameter that a prototype shows."""
    inside = prototype[prototype.find("(") + 1 : prototype.rfind(")")]
    found = filter(None, map(_PARAMETER.fullmatch, inside.split(", ")))
    names = ((each["type"], each["name"]) for each in found)
    return [(kind, f"{name}_" if keyword.iskeyword(name) else name) for kind, name in names]


def _signature_of(restype: Any, argtypes: Sequence[Any], prototype: str) -> inspect.Signature:
    import inspect  # slow to import, and only people ask

    one = inspect.Parameter
    parameters = [
        one(name, one.POSITIONAL_OR_KEYWORD, annotation=_annotation(argtype, spelling))
        for argtype, (spelling, name) in zip(argtypes, parse_parameters(prototype), strict=True)
    ]
    if not prototype or "..." in prototype:
        parameters.append(one("arguments", one.VAR_POSITIONAL))
    result = _annotation(restype, "Any")
    if isinstance(restype, type) and issubclass(restype, Pointer | ctypes.c_void_p):
        result = f"{'int' if result == 'Any' else result} | None"
    return inspect.Signature(parameters, return_annotation=result)


# By the codes of ctypes; the others are integers.
_SIMPLE = {"?": "bool", "c": "bytes", "d": "float", "f": "float", "z": "bytes | None", "P": "Any"}


def _annotation(ctype: Any, spelling: str) -> str:
    """Say, as the stubs do, what Python has for a type of the tables."""
    if ctype is None:
        return "None"
    if isinstance(ctype, Nullable):
        return f"{ctype.kind.__name__} | None"
    if isinstance(ctype, CallbackParameter):
        return spelling
    if issubclass(ctype, ctypes._SimpleCData):
        return _SIMPLE.get(str(ctype._type_), "int")
    if issubclass(ctype, Pointer | ctypes.Structure | ctypes.Union):
        return str(ctype.__name__)
    return "Any"


def _typed_result(kind: type[Pointer]) -> Callable[[Any, Any, Any], Pointer | None]:
    def typed(address: int | None, function: Any, arguments: Any) -> Pointer | None:
        return None if address is None else kind(address)

    return typed


def _missing(name: str, path: str, prototype: str) -> Callable[..., NoReturn]:
    def missing(*arguments: Any, **named: Any) -> NoReturn:
        raise SymbolMissingError(
            f"{name} is not in {path}: the libraries were built without the backend that it "
            "belongs to, or from another llama.cpp commit. llama_cpp.build_info() lists both; "
            "rebuild the package, for example with CMAKE_ARGS=-DGGML_CUDA=ON."
        )

    missing.__name__ = missing.__qualname__ = name
    missing.__doc__ = prototype
    return missing


class Library(ctypes.CDLL):
    """A shared library whose functions get their types from generated tables, on first use."""

    def __init__(self, path: str, signatures: Mapping[str, Signature], **options: Any) -> None:
        super().__init__(path, **options)
        self._FuncPtr = Function
        self._signatures = signatures

    def bind(self, name: str) -> Any:
        """Return the typed function ``name``, or a stub that raises when it is called."""
        function = self.find(name)
        signature = self._signatures[name]
        return function or _missing(name, self._name, signature[2])

    def find(self, name: str) -> Any | None:
        """Return the typed function ``name``, or None if this library does not export it."""
        try:
            return getattr(self, name)
        except AttributeError:
            return None

    def __getitem__(self, name_or_ordinal: Any) -> Any:
        function: Any = super().__getitem__(name_or_ordinal)
        signature = self._signatures.get(name_or_ordinal)
        if signature is not None:
            function._declared = restype, argtypes, prototype = signature
            function.argtypes = argtypes
            if isinstance(restype, type) and issubclass(restype, Pointer):
                function.restype = ctypes.c_void_p
                function.errcheck = _typed_result(restype)
            else:
                function.restype = restype
            function.__doc__ = prototype
            keep_callbacks(function, name_or_ordinal, argtypes)
        return function
