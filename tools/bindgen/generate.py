"""Everything that is generated, as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import headers, model
from .emit_probe import emit_layout, emit_probe
from .emit_py import emit_module
from .emit_stub import emit_stub
from .expressions import Names
from .parse import parse
from .policy import Policy

_PACKAGE = '''"""What ``tools/bindgen`` generates from the headers of llama.cpp. Do not edit."""

LLAMA_CPP_COMMIT = "{commit}"
'''


@dataclass(frozen=True)
class Output:
    """The generated files, and what was bound."""

    files: dict[Path, str]
    modules: tuple[model.Module, ...]

    @property
    def unlisted(self) -> list[str]:
        """The functions that are neither bound nor excluded, with the reason why not."""
        return [entry for module in self.modules for entry in module.unlisted]

    def summary(self) -> str:
        """Return one line for every module, and what is left to decide."""
        lines = [_summary(module) for module in self.modules]
        facts = json.loads(self.files[headers.LAYOUT])["facts"]
        lines += [f"{len(facts)} sizes, offsets and values for the probe to compare"]
        lines += [f"{len(self.unlisted)} unlisted", *(f"  {entry}" for entry in self.unlisted)]
        return "\n".join(lines)


def generate() -> Output:
    """Parse the headers and return all generated files, without writing any.

    Raises:
        BindgenError: The headers or the policy need attention; the message says where.
    """
    policy = Policy.read(headers.POLICY)
    commit = headers.pinned_commit()
    modules = tuple(parse(policy).values())
    names = Names(modules)
    files = {headers.GENERATED / "__init__.py": _PACKAGE.format(commit=commit)}
    for module in modules:
        runtime = headers.GENERATED / f"{module.name}.py"
        files[runtime] = emit_module(module, names, commit)
        files[runtime.with_suffix(".pyi")] = emit_stub(module, names, commit, policy.conversions)
    files[headers.PROBE] = emit_probe(modules, commit)
    files[headers.LAYOUT] = emit_layout(modules, commit)
    return Output(files, modules)


def differing(files: dict[Path, str]) -> Iterable[Path]:
    """Yield the files that are not, or not with this text, where they belong."""
    for path, text in files.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            yield path


def _summary(module: model.Module) -> str:
    bound, excluded = len(module.functions), len(module.excluded)
    hint = f" (see {headers.POLICY.relative_to(headers.ROOT)})" if excluded else ""
    return f"{module.name:<8} {bound:>4} functions bound {excluded:>3} excluded{hint}"
