"""The stubs next to the runtime modules: what type checkers and editors know of the C API."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence

from . import model
from .emit_py import all_statement, finished, import_lines
from .expressions import Names, constant_value
from .text import call

_NUMBERS = {"c_bool": "bool", "c_float": "float", "c_double": "float", "c_char": "bytes"}


def emit_stub(
    module: model.Module, names: Names, commit: str, conversions: Mapping[str, Sequence[str]]
) -> str:
    """Return the stub of one generated module.

    Args:
        module: What the stub describes.
        names: Where everything is defined.
        commit: The llama.cpp commit.
        conversions: The kinds that may stand in for a kind of pointer.
    """
    return _Stub(module, names, conversions).emit(commit)


class _Stub:
    def __init__(
        self, module: model.Module, names: Names, conversions: Mapping[str, Sequence[str]]
    ) -> None:
        self._module = module
        self._names = names
        self._conversions = conversions
        self._needed: dict[str, set[str]] = {"typing": {"Final"}, "..bind": {"Signature"}}

    def emit(self, commit: str) -> str:
        module = self._module
        constants = {each.name: constant_value(each.value) for each in module.constants}
        kinds = [(each.name, self._from("..bind", "Pointer")) for each in module.kinds]
        callbacks = [(each.name, self._from("_ctypes", "CFuncPtr")) for each in module.callbacks]
        pointers = {
            self._names.pointer_to(each): f"type[{self._pointer(each.name)}]"
            for each in module.records
            if not each.nested
        }
        sections = [
            [f"{name}: Final = {value}" for name, value in constants.items()],
            [f"{each.name}: Final[int]" for each in module.sizes],
            [self._alias(each.name, each.type) for each in module.aliases],
            *map(self._record, module.records),
            [f"class {name}({base}): ..." for name, base in [*kinds, *callbacks]],
            [f"{name}: {annotation}" for name, annotation in pointers.items()],
            [self._extra_name(*each) for each in module.extra_names.items()],
            ["SIGNATURES: Final[dict[str, Signature]]"],
            ["# Bound on first use, by the public modules: here they are only typed."],
            [line for each in module.functions for line in self._function(each)],
            self._all(),
        ]
        # The imports list what the sections turned out to need.
        return finished(module, commit, [self._imports(), *sections], between_classes=1)

    def _imports(self) -> list[str]:
        ours = sorted(name for name in self._needed if name.startswith("."))
        standard = sorted(self._needed.keys() - set(ours))
        lines = [line for name in standard for line in import_lines(name, self._needed[name])]
        lines.append("")
        return lines + [line for name in ours for line in import_lines(name, self._needed[name])]

    def _all(self) -> list[str]:
        functions = [each.name for each in self._module.functions]
        return all_statement([*self._names.defined_by(self._module), *functions])

    def _alias(self, name: str, ctype: model.Type) -> str:
        if isinstance(ctype, model.PointerTo | model.ArrayOf):
            return f"{name}: type[{self._class(ctype)}]"
        return f"{name} = {self._class(ctype)}"

    def _extra_name(self, name: str, expression: str) -> str:
        if match := re.fullmatch(r"POINTER\((\w+)\)", expression):
            return f"{name}: type[{self._pointer(self._any_name(match[1]))}]"
        return f"{name} = {self._any_name(expression)}"

    def _record(self, record: model.Record) -> list[str]:
        base = self._from("ctypes", "Union" if record.union else "Structure")
        lines = [f"class {record.name}({base}):"]
        for field in record.fields:
            if keyword.iskeyword(field.name):
                lines.append(f"    # {field.name} is a keyword: getattr and setattr reach it.")
            else:
                lines.append(f"    {field.name}: {self._member(field.type)}")
            if field.anonymous:
                lines += self._anonymous_members(field.type)
        return lines

    def _anonymous_members(self, ctype: model.Type) -> list[str]:
        records = {each.name: each for each in self._module.records}
        assert isinstance(ctype, model.RecordType)
        fields = records[ctype.name].fields
        return [f"    {each.name}: {self._member(each.type)}" for each in fields]

    def _function(self, function: model.Function) -> list[str]:
        parameters = [self._parameter(each) for each in function.parameters]
        if function.variadic:
            parameters.append(f"*arguments: {self._from('typing', 'Any')}")
        result = self._result(function.result)
        return call(f"def {function.name}(", parameters, f") -> {result}: ...")

    def _parameter(self, parameter: model.Parameter) -> str:
        name = f"{parameter.name}_" if keyword.iskeyword(parameter.name) else parameter.name
        return f"{name}: {self._argument(parameter)}"

    def _argument(self, parameter: model.Parameter) -> str:
        match parameter.type:
            case model.Handle(kind):
                kinds = [kind, *self._conversions.get(kind, ())]
                spelled = " | ".join(map(self._own, kinds))
                return f"{spelled} | None" if parameter.nullable else spelled
            case model.Text(const=True):
                return "bytes | None"
            case model.Scalar(name):
                return _NUMBERS.get(name, "int")
            case model.RecordType(name):
                return self._own(name)
            case model.CallbackType():
                function = self._from("_ctypes", "CFuncPtr")
                return f"{function} | {self._from('ctypes', 'c_void_p')} | int | None"
            case _:
                # Arrays, byref() and pointers all do; no annotation says so.
                return self._from("typing", "Any")

    def _result(self, ctype: model.Type) -> str:
        match ctype:
            case model.Void():
                return "None"
            case model.Handle(kind):
                return f"{self._own(kind)} | None"
            case model.PointerTo():
                return self._class(ctype)
            case _:
                return self._member(ctype)

    def _member(self, ctype: model.Type) -> str:
        match ctype:
            case model.Scalar(name):
                return _NUMBERS.get(name, "int")
            case model.ArrayOf(model.Scalar("c_char")):
                return "bytes"
            case model.Text():
                return "bytes | None"
            case model.Address() | model.Handle():
                return "int | None"
            case model.PointerTo():
                # Arrays may be assigned too, which no annotation says.
                return self._from("typing", "Any")
            case _:
                return self._class(ctype)

    def _class(self, ctype: model.Type) -> str:
        match ctype:
            case model.Scalar(name):
                return self._from("ctypes", name)
            case model.Text():
                return self._from("ctypes", "c_char_p")
            case model.Address() | model.Handle():
                return self._from("ctypes", "c_void_p")
            case model.RecordType(name) | model.CallbackType(name):
                return self._own(name)
            case model.ArrayOf(element):
                return f"{self._from('ctypes', 'Array')}[{self._class(element)}]"
            case model.PointerTo(target):
                return self._pointer(self._class(target))
        raise AssertionError(f"no stub for {ctype}")

    def _pointer(self, target: str) -> str:
        return f"{self._from('ctypes', '_Pointer')}[{target}]"

    def _any_name(self, name: str) -> str:
        return self._own(name) if self._names.is_generated(name) else self._from("ctypes", name)

    def _own(self, name: str) -> str:
        owner = self._names.owner(name)
        return name if owner == self._module.name else self._from(f".{owner}", name)

    def _from(self, module: str, name: str) -> str:
        self._needed.setdefault(module, set()).add(name)
        return name
