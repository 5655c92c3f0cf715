"""From the headers to the model."""

from __future__ import annotations

from collections.abc import Callable

from . import macros, model
from .ctypes_map import TypeMap, UnsupportedTypeError, is_function_pointer, pointed_function
from .headers import HEADERS, include_directories
from .policy import Policy
from .unit import (
    BindgenError,
    Cursor,
    CursorKind,
    Type,
    TypeKind,
    header_of,
    is_function_like,
    parse_headers,
    top_level,
)

_INT_RANGE = range(-(2**31), 2**31)


def parse(policy: Policy) -> dict[str, model.Module]:
    """Return what every generated module holds, in the order in which they depend on each other.

    Raises:
        BindgenError: The headers do not compile, or ask for something that the policy must decide.
    """
    return _Parser(policy).run()


class _Parser:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._headers = {header.path: header for header in HEADERS}
        self._types = TypeMap(self._headers, policy)
        self._modules: dict[str, model.Module] = {}
        for header in HEADERS:
            module = self._modules.setdefault(header.module, model.Module(header.module))
            module.headers.append(header.name)
        self._values: dict[str, macros.Value] = {}
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> dict[str, model.Module]:
        unit = parse_headers(list(self._headers), include_directories())
        declarations: dict[CursorKind, list[Cursor]] = {}
        for cursor in top_level(unit):
            if header_of(cursor) in self._headers:
                declarations.setdefault(cursor.kind, []).append(cursor)
        # Enums come before the macros that use their values, and the typedefs that name the
        # pointers to opaque structs before everything that such pointers appear in.
        passes: list[tuple[CursorKind, Callable[[model.Module, Cursor], None]]] = [
            (CursorKind.ENUM_DECL, self._enum),
            (CursorKind.MACRO_DEFINITION, self._macro),
            (CursorKind.TYPEDEF_DECL, self._handle_name),
            (CursorKind.STRUCT_DECL, self._struct),
            (CursorKind.UNION_DECL, self._struct),
            (CursorKind.TYPEDEF_DECL, self._typedef),
            (CursorKind.VAR_DECL, self._variable),
            (CursorKind.FUNCTION_DECL, self._function),
        ]
        for kind, handle in passes:
            for cursor in declarations.get(kind, []):
                handle(self._module_of(cursor), cursor)
        for name, names in self._policy.names.items():
            self._modules[name].extra_names.update(names)
        if stale := self._policy.stale():
            raise BindgenError("policy.toml has entries without a use:\n  " + "\n  ".join(stale))
        return self._modules

    def _module_of(self, cursor: Cursor) -> model.Module:
        path = header_of(cursor)
        assert path is not None
        return self._modules[self._headers[path].module]

    def _first(self, what: str, name: str) -> bool:
        if (what, name) in self._seen:
            return False
        self._seen.add((what, name))
        return True

    def _enum(self, module: model.Module, cursor: Cursor) -> None:
        for member in cursor.get_children():
            if member.enum_value not in _INT_RANGE:
                raise BindgenError(f"{member.spelling} does not fit into an int")
            self._constant(module, member.spelling, member.enum_value)

    def _macro(self, module: model.Module, cursor: Cursor) -> None:
        if is_function_like(cursor):
            return
        body = [token.spelling for token in cursor.get_tokens()][1:]
        try:
            value = macros.evaluate(body, self._values)
        except macros.NotConstantError:
            return
        self._constant(module, cursor.spelling, value)

    def _constant(self, module: model.Module, name: str, value: macros.Value) -> None:
        self._values[name] = value
        module.constants.append(model.Constant(name, value))

    def _handle_name(self, _module: model.Module, cursor: Cursor) -> None:
        self._types.learn(cursor)

    def _struct(self, module: model.Module, cursor: Cursor) -> None:
        if cursor.is_definition():
            name = self._types.record_name(cursor.type)
            self._record(module, name, cursor, cursor.type.spelling)
        if self._types.is_opaque(cursor.type):
            self._kind(cursor)

    def _kind(self, cursor: Cursor) -> None:
        handle = self._types.handle(cursor.type)
        if self._first("kind", handle.kind):
            module = self._module_of(cursor.canonical)
            module.kinds.append(model.Kind(handle.kind, cursor.type.spelling, handle.struct))

    def _record(self, module: model.Module, name: str, cursor: Cursor, c_name: str) -> None:
        # Records inside of this one are added on the way, that is before it.
        fields = tuple(self._field(module, name, field) for field in cursor.type.get_fields())
        union = cursor.kind is CursorKind.UNION_DECL
        size, alignment = cursor.type.get_size(), cursor.type.get_align()
        nested = cursor.is_anonymous()
        module.records.append(model.Record(name, c_name, nested, union, fields, size, alignment))

    def _field(self, module: model.Module, record: str, field: Cursor) -> model.Field:
        if field.is_bitfield():
            raise BindgenError(f"{record}.{field.spelling} is a bit field: not supported")
        offset, size = field.get_field_offsetof() // 8, field.type.get_size()
        anonymous = not field.spelling.isidentifier()
        if anonymous:
            name = self._policy.anonymous_name(record)
            if name is None:
                raise BindgenError(f"policy.toml must name the anonymous member of {record}")
        else:
            name = field.spelling
        own = f"{record}_{name}"
        declaration = field.type.get_declaration()
        ctype: model.Type
        if declaration.is_anonymous():
            self._record(module, own, declaration, f"{record}.{name}")
            ctype = model.RecordType(own)
        elif is_function_pointer(field.type) and field.type.kind is TypeKind.POINTER:
            self._callback(module, own, field.type)
            ctype = model.CallbackType(own)
        else:
            ctype = self._types.map(field.type)
        return model.Field(name, ctype, offset, size, anonymous)

    def _callback(self, module: model.Module, name: str, ctype: Type) -> None:
        signature = pointed_function(ctype)
        parameters = tuple(self._types.map_parameter(each) for each in signature.argument_types())
        result = self._types.map(signature.get_result())
        module.callbacks.append(model.Callback(name, result, parameters))

    def _typedef(self, module: model.Module, cursor: Cursor) -> None:
        target = cursor.underlying_typedef_type
        canonical = target.get_canonical()
        if not self._first("typedef", cursor.spelling) or canonical.kind is TypeKind.RECORD:
            return
        if is_function_pointer(target):
            self._callback(module, cursor.spelling, target)
            return
        if canonical.kind is TypeKind.POINTER and self._types.is_opaque(canonical.get_pointee()):
            self._kind(canonical.get_pointee().get_declaration())
            return
        module.aliases.append(model.Alias(cursor.spelling, self._types.map(target)))

    def _variable(self, module: model.Module, cursor: Cursor) -> None:
        tokens = [token.spelling for token in cursor.get_tokens()]
        start = tokens.index("=") + 1 if "=" in tokens else len(tokens)
        match tokens[start:]:
            case ["sizeof", "(", "struct", tag, ")"]:
                record = self._policy.python_name(tag)
            case _:
                raise BindgenError(f"cannot tell the value of the variable {cursor.spelling}")
        size = next(each.size for each in module.records if each.name == record)
        module.sizes.append(model.SizeConstant(cursor.spelling, record, size))

    def _function(self, module: model.Module, cursor: Cursor) -> None:
        name = cursor.spelling
        if not self._first("function", name):
            return
        if reason := self._policy.reason_to_exclude(name):
            module.excluded[name] = reason
            return
        try:
            if cursor.storage_class.name == "STATIC":
                raise UnsupportedTypeError("static: no library exports it")
            function = self._signature(cursor)
        except UnsupportedTypeError as error:
            module.unlisted.append(f"{name}: {error}")
            return
        module.functions.append(function)

    def _signature(self, cursor: Cursor) -> model.Function:
        function = cursor.spelling
        parameters = []
        names = self._parameter_names(cursor)
        for name, parameter in zip(names, cursor.get_arguments(), strict=True):
            ctype = self._types.map_parameter(parameter.type)
            if ctype == model.Text(const=False) and self._policy.is_owned(function, name):
                ctype = model.Address()
            nullable = isinstance(ctype, model.Handle) and self._policy.is_nullable(function, name)
            parameters.append(model.Parameter(name, ctype, nullable))
        result = self._types.map(cursor.result_type)
        if result == model.Text(const=False):
            # The caller must free it. ctypes would copy the text and forget the address.
            result = model.Address()
        return model.Function(
            function,
            result,
            tuple(parameters),
            _is_variadic(cursor),
            self._prototype(cursor),
        )

    def _parameter_names(self, cursor: Cursor) -> list[str]:
        names = [
            each.spelling or f"arg{index}" for index, each in enumerate(cursor.get_arguments(), 1)
        ]
        return [self._policy.parameter_name(cursor.spelling, name) for name in names]

    def _prototype(self, cursor: Cursor) -> str:
        # The bindings read the names from here, so each parameter has one.
        named = zip(self._parameter_names(cursor), cursor.get_arguments(), strict=True)
        parts = [_declarator(each.type.spelling, name) for name, each in named]
        if _is_variadic(cursor):
            parts.append("...")
        path = header_of(cursor)
        assert path is not None
        head = _declarator(cursor.result_type.spelling, cursor.spelling)
        text = f"{head}({', '.join(parts) or 'void'})  [{path.name}:{cursor.location.line}]"
        return text.replace("_Bool", "bool")


def _declarator(spelling: str, name: str) -> str:
    element, bracket, length = spelling.partition("[")
    return f"{element} {name}{bracket}{length}"


def _is_variadic(cursor: Cursor) -> bool:
    # A declaration without a parameter list, `f()`, has no prototype to ask.
    return bool(cursor.type.kind is TypeKind.FUNCTIONPROTO and cursor.type.is_function_variadic())
