"""How the generated modules spell a type, which depends on where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from . import model
from .unit import BindgenError


class Names:
    """Which generated module defines which name, and under which name a pointer type goes."""

    def __init__(self, modules: Iterable[model.Module]) -> None:
        self._owner: dict[str, str] = {}
        self._pointers: dict[str, str] = {}
        for module in modules:
            for kind in module.kinds:
                if kind.struct is not None:
                    self._pointers[kind.struct] = f"{kind.name}_ctypes"
            for name in self.defined_by(module):
                if name in self._owner:
                    raise BindgenError(f"{name} is defined twice: rename it in policy.toml")
                self._owner[name] = module.name

    def defined_by(self, module: model.Module) -> list[str]:
        """Return the public names of a module, but for its functions."""
        names = [each.name for each in module.constants]
        names += [each.name for each in module.sizes]
        names += [each.name for each in module.aliases]
        names += [each.name for each in module.records]
        names += [self.pointer_to(each) for each in module.records if not each.nested]
        names += [each.name for each in module.kinds]
        names += [each.name for each in module.callbacks]
        return [*names, *module.extra_names]

    def pointer_to(self, record: model.Record | str) -> str:
        """Return the name of the ctypes pointer type for a record."""
        name = record if isinstance(record, str) else record.name
        return self._pointers.get(name, f"{name}_p")

    def is_generated(self, name: str) -> bool:
        """Tell whether a generated module defines a name."""
        return name in self._owner

    def owner(self, name: str) -> str:
        """Return the module that defines a name."""
        return self._owner[name]


class Expressions:
    """Spells the types of one module, and keeps track of what the module must import or define."""

    def __init__(self, module: str, names: Names) -> None:
        self._module = module
        self._names = names
        self.from_ctypes: set[str] = set()
        self.from_modules: dict[str, set[str]] = {}
        self.pointers: dict[str, str] = {}
        self.callback_pointers: dict[str, str] = {}
        self.nullable: dict[str, str] = {}
        self.callback_parameters: dict[str, str] = {}

    def parameter(self, parameter: model.Parameter) -> str:
        """Spell what checks and converts an argument."""
        match parameter.type:
            case model.Handle(kind):
                kind = self.name(kind)
                if not parameter.nullable:
                    return kind
                self.nullable[f"_nullable_{kind}"] = f"Nullable({kind})"
                return f"_nullable_{kind}"
            case model.CallbackType(name):
                self.callback_parameters[f"_any_{name}"] = f"CallbackParameter({self.name(name)})"
                return f"_any_{name}"
            case other:
                return self.plain(other)

    def result(self, ctype: model.Type) -> str:
        """Spell the result of a function."""
        match ctype:
            case model.Void():
                return "None"
            case model.Handle(kind):
                return self.name(kind)
            case other:
                return self.plain(other)

    def callback(self, callback: model.Callback) -> Sequence[str]:
        """Spell the arguments of CFUNCTYPE."""
        # ctypes refuses callbacks that return any other kind of pointer.
        pointers = (model.PointerTo, model.Handle, model.Address)
        match callback.result:
            case model.Void():
                result = "None"
            case pointer if isinstance(pointer, pointers):
                result = self.ctypes("c_void_p")
            case other:
                result = self.plain(other)
        return [result, *(self._callback_parameter(each) for each in callback.parameters)]

    def _callback_parameter(self, ctype: model.Type) -> str:
        match ctype:
            case model.Handle(_, str(struct)):
                return self.name(self._names.pointer_to(struct))
            case other:
                return self.plain(other)

    def plain(self, ctype: model.Type) -> str:
        """Spell a type where ctypes wants one of its own: in structs, arrays and pointers."""
        match ctype:
            case model.Scalar(name):
                return self.ctypes(name)
            case model.Text():
                return self.ctypes("c_char_p")
            case model.Address() | model.Handle():
                return self.ctypes("c_void_p")
            case model.RecordType(name) | model.CallbackType(name):
                return self.name(name)
            case model.ArrayOf(element, length):
                return f"{self.plain(element)} * {length}"
            case model.PointerTo(model.RecordType(name)):
                return self.name(self._names.pointer_to(name))
            case model.PointerTo(target):
                return self._pointer(target)
        raise AssertionError(f"no ctypes spelling for {ctype}")

    def _pointer(self, target: model.Type) -> str:
        spelled = self.plain(target)
        name = "_" + spelled.replace(" * ", "_").lstrip("_") + "_p"
        table = self.callback_pointers if _involves_callback(target) else self.pointers
        table[name] = f"{self.ctypes('POINTER')}({spelled})"
        return name

    def ctypes(self, name: str) -> str:
        """Spell a name that ctypes defines."""
        self.from_ctypes.add(name)
        return name

    def expression(self, expression: str) -> str:
        """Spell an expression of names that ctypes and the generated modules define."""
        for name in re.findall(r"\w+", expression):
            if self._names.is_generated(name):
                self.name(name)
            else:
                self.ctypes(name)
        return expression

    def name(self, name: str) -> str:
        """Spell a name that a generated module defines."""
        owner = self._names.owner(name)
        if owner != self._module:
            self.from_modules.setdefault(owner, set()).add(name)
        return name


def _involves_callback(ctype: model.Type) -> bool:
    match ctype:
        case model.CallbackType():
            return True
        case model.PointerTo(target):
            return _involves_callback(target)
        case model.ArrayOf(element):
            return _involves_callback(element)
        case _:
            return False


def in_dependency_order(callbacks: Sequence[model.Callback]) -> list[model.Callback]:
    """Return callbacks so that each comes after those that it takes as arguments."""
    own = {callback.name: callback for callback in callbacks}
    ordered: dict[str, model.Callback] = {}

    def add(callback: model.Callback) -> None:
        for parameter in callback.parameters:
            if isinstance(parameter, model.CallbackType) and parameter.name in own:
                add(own[parameter.name])
        ordered[callback.name] = callback

    for callback in callbacks:
        if callback.name not in ordered:
            add(callback)
    return list(ordered.values())


def constant_value(value: int | float | bytes) -> str:
    """Spell a constant. Bytes in double quotes, as everywhere in this project."""
    if isinstance(value, bytes):
        text = repr(value)[2:-1]
        return f'b"{text}"'
    return repr(value)
