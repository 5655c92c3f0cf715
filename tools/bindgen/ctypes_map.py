"""From C types to the types of the model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from . import model
from .policy import Policy
from .unit import BindgenError, Cursor, Type, TypeKind, header_of

# These are looked up by name: what int64_t is an alias of differs between platforms, and the
# ctypes class for `long` is right on some of them only.
_NAMED = {
    **{f"int{bits}_t": f"c_int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}_t": f"c_uint{bits}" for bits in (8, 16, 32, 64)},
    "size_t": "c_size_t",
    "ssize_t": "c_ssize_t",
    "ptrdiff_t": "c_ssize_t",
    "intptr_t": "c_ssize_t",
    "uintptr_t": "c_size_t",
}
_SCALARS = {
    TypeKind.BOOL: "c_bool",
    TypeKind.CHAR_S: "c_char",
    TypeKind.CHAR_U: "c_char",
    TypeKind.SCHAR: "c_int8",
    TypeKind.UCHAR: "c_uint8",
    TypeKind.SHORT: "c_short",
    TypeKind.USHORT: "c_ushort",
    TypeKind.INT: "c_int",
    TypeKind.UINT: "c_uint",
    TypeKind.LONG: "c_long",
    TypeKind.ULONG: "c_ulong",
    TypeKind.LONGLONG: "c_longlong",
    TypeKind.ULONGLONG: "c_ulonglong",
    TypeKind.FLOAT: "c_float",
    TypeKind.DOUBLE: "c_double",
    TypeKind.ENUM: "c_int",
}
_FUNCTIONS = (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO)


class UnsupportedTypeError(BindgenError):
    """A C type that there is no ctypes counterpart for."""


def is_function_pointer(ctype: Type) -> bool:
    """Tell whether a type, seen through its typedefs, points to a function."""
    canonical = ctype.get_canonical()
    return canonical.kind is TypeKind.POINTER and canonical.get_pointee().kind in _FUNCTIONS


def pointed_function(ctype: Type) -> Type:
    """Return the function type behind a pointer, spelled with the typedefs that the header uses."""
    while ctype.kind is not TypeKind.POINTER:
        if ctype.kind is TypeKind.ELABORATED:
            ctype = ctype.get_named_type()
        else:
            ctype = ctype.get_declaration().underlying_typedef_type
    return ctype.get_pointee()


class TypeMap:
    """Maps C types, knowing which structs are opaque and what pointers to them are called."""

    def __init__(self, headers: Collection[Path], policy: Policy) -> None:
        self._headers = headers
        self._policy = policy
        self._handle_names: dict[str, str] = {}

    def learn(self, typedef: Cursor) -> None:
        """Remember a typedef that names the pointers to an opaque struct."""
        target = typedef.underlying_typedef_type.get_canonical()
        if target.kind is TypeKind.POINTER and self.is_opaque(target.get_pointee()):
            tag = target.get_pointee().get_declaration().spelling
            self._handle_names.setdefault(tag, typedef.spelling)

    def is_opaque(self, ctype: Type) -> bool:
        """Tell whether a type is one of our structs that callers know by its address only."""
        canonical = ctype.get_canonical()
        if canonical.kind is not TypeKind.RECORD or not self._is_ours(canonical):
            return False
        declaration = canonical.get_declaration()
        hidden = declaration.get_definition() is None
        return hidden or self._policy.is_handle(declaration.spelling)

    def handle(self, record: Type) -> model.Handle:
        """Return the handle for pointers to an opaque struct."""
        declaration = record.get_canonical().get_declaration()
        tag = declaration.spelling
        public = declaration.get_definition() is not None
        kind = self._handle_names.get(tag, f"{tag}_p")
        return model.Handle(kind, self.record_name(record) if public else None)

    def record_name(self, record: Type) -> str:
        """Return the name of the Python class for a record."""
        declaration = record.get_canonical().get_declaration()
        if declaration.is_anonymous():
            raise UnsupportedTypeError(f"{record.spelling} has no name")
        # A struct without a tag is spelled like the typedef that it is declared in.
        tag = declaration.type.spelling.removeprefix("struct ").removeprefix("union ")
        return self._policy.python_name(tag)

    def map(self, ctype: Type) -> model.Type:
        """Return what a C type is in the model.

        Raises:
            UnsupportedTypeError: There is no counterpart.
        """
        kind = ctype.kind
        if kind is TypeKind.ELABORATED:
            return self.map(ctype.get_named_type())
        if kind is TypeKind.TYPEDEF:
            return self._typedef(ctype.get_declaration())
        if kind is TypeKind.VOID:
            return model.Void()
        if kind in _SCALARS:
            return model.Scalar(_SCALARS[kind])
        if kind is TypeKind.RECORD:
            return model.RecordType(self.record_name(ctype))
        if kind is TypeKind.CONSTANTARRAY:
            return model.ArrayOf(self.map(ctype.element_type), ctype.element_count)
        if kind is TypeKind.INCOMPLETEARRAY:
            return self._pointer_to(ctype.element_type)
        if kind is TypeKind.POINTER:
            return self._pointer_to(ctype.get_pointee())
        raise UnsupportedTypeError(f"no ctypes counterpart for {ctype.spelling}")

    def map_parameter(self, ctype: Type) -> model.Type:
        """Return what a parameter is in the model: C passes the address of an array."""
        if ctype.get_canonical().kind is TypeKind.CONSTANTARRAY:
            return self._pointer_to(ctype.element_type)
        return self.map(ctype)

    def _typedef(self, declaration: Cursor) -> model.Type:
        name = declaration.spelling
        if name in _NAMED:
            return model.Scalar(_NAMED[name])
        target = declaration.underlying_typedef_type
        return model.CallbackType(name) if is_function_pointer(target) else self.map(target)

    def _pointer_to(self, target: Type) -> model.Type:
        canonical = target.get_canonical()
        if canonical.kind is TypeKind.VOID:
            return model.Address()
        if canonical.kind in (TypeKind.CHAR_S, TypeKind.CHAR_U):
            return model.Text(const=canonical.is_const_qualified())
        if canonical.kind in _FUNCTIONS:
            raise UnsupportedTypeError(f"a function type without a name: {target.spelling}")
        if canonical.kind is TypeKind.RECORD:
            if not self._is_ours(canonical):
                return model.Address()
            if self.is_opaque(canonical):
                return self.handle(canonical)
        return model.PointerTo(self.map(target))

    def _is_ours(self, record: Type) -> bool:
        return header_of(record.get_declaration()) in self._headers
