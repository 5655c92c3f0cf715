"""The workaround in cmake/Workarounds.cmake for GCC's loss of the AMX tile configuration.

No processor with AMX is needed: the compiled code is read, and what it would load is captured.
The tests exist where the build's compiler is a GCC for x86-64 that knows AMX.
"""

from __future__ import annotations

import json
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "vendor" / "llama.cpp" / "ggml" / "src" / "ggml-cpu" / "amx" / "mmq.cpp"
FLAGS = ["-fno-tree-dse", "-fno-dse"]

# Per tile: B in 0 and 1, A in 2 and 3, C in 4 to 7, as the notes in mmq.cpp say.
ROWS = (8, 8, 16, 16, 16, 16, 16, 16)
BYTES_PER_ROW = (64, 64, 32, 32, 64, 64, 64, 64)
BYTES_PER_ROW_AT, ROWS_AT = 16, 48
TILE_CONFIG = struct.pack("<BB14x8H16x8B8x", 1, 0, *BYTES_PER_ROW, *ROWS)


def compile_command() -> list[str]:
    """What the build runs for mmq.cpp, without the files; empty if there is no such build."""
    for database in sorted(ROOT.glob("build/py3-none-*/compile_commands.json")):
        for entry in json.loads(database.read_text("utf-8")):
            if Path(entry["file"]).as_posix().endswith("/ggml-cpu/amx/mmq.cpp"):
                words = shlex.split(entry["command"])
                return words[: words.index("-o")]
    return []


def answer(compiler: str, *question: str) -> str:
    done = subprocess.run(
        [compiler, *question], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def gcc_version(compiler: str) -> tuple[int, ...]:
    """The version of a GCC that can compile for AMX; empty for every other compiler."""
    if not answer(compiler, "-dumpmachine").startswith("x86_64"):
        return ()
    macros = answer(compiler, "-march=sapphirerapids", "-dM", "-E", "-x", "c++", "-")
    if "__AMX_INT8__" not in macros or "__clang__" in macros:
        return ()
    return tuple(map(int, answer(compiler, "-dumpfullversion").split(".")))


COMMAND = compile_command()
VERSION = gcc_version(COMMAND[0]) if COMMAND and sys.platform == "linux" else ()
IS_DUE = VERSION < (14,)
AFFECTED = VERSION < (11, 5) or (12,) <= VERSION < (12, 4) or (13,) <= VERSION < (13, 3)


def compiled(folder: Path, source: Path, flags: list[str]) -> str:
    """The disassembly of a source."""
    target = folder / "compiled.o"
    subprocess.run([*flags, "-w", "-o", str(target), "-c", str(source)], check=True)
    command = ["objdump", "--disassemble", "--no-show-raw-insn", str(target)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def stores_before_loading(disassembly: str) -> set[int]:
    """Where stores into the configuration begin, in the stretch of code that ends by loading it."""
    before, found, after = disassembly.partition("ldtilecfg")
    assert found
    assert "ldtilecfg" not in after
    stretch = re.split(r"\t(?:j\w+|ret) ", before)[-1]
    base, register = operand(after.splitlines()[0].strip())
    stores = {operand(word) for word in re.findall(r",(\S*\(%\w+\))$", stretch, re.MULTILINE)}
    return {offset - base for offset, other in stores if other == register}


def operand(text: str) -> tuple[int, str]:
    """The offset and the register of ``0x10(%rsp)``."""
    match = re.fullmatch(r"(-?)(?:0x([0-9a-f]+))?\((%\w+)\)", text)
    assert match
    return int(match[2] or "0", 16) * (-1 if match[1] else 1), match[3]


def without_flags(flags: list[str]) -> list[str]:
    return [flag for flag in flags if flag not in FLAGS]


if VERSION:

    def test_the_build_sets_the_flags() -> None:
        assert [flag for flag in COMMAND if flag in FLAGS] == (FLAGS if IS_DUE else [])

    def test_the_engine_fills_the_configuration(tmp_path: Path) -> None:
        flags = [*COMMAND, "-march=sapphirerapids"]
        stores = stores_before_loading(compiled(tmp_path, SOURCE, flags))
        assert {0, BYTES_PER_ROW_AT, ROWS_AT} <= stores
        if IS_DUE:
            broken = compiled(tmp_path, SOURCE, without_flags(flags))
            lost = {BYTES_PER_ROW_AT, ROWS_AT} - stores_before_loading(broken)
            assert bool(lost) == AFFECTED

    @pytest.mark.parametrize("with_flags", [True, False])
    def test_what_would_be_loaded(with_flags: bool, tmp_path: Path) -> None:
        flags = COMMAND if with_flags else without_flags(COMMAND)
        loaded = load_configuration(tmp_path, flags)
        assert (loaded == TILE_CONFIG) == (not AFFECTED or (with_flags and IS_DUE))


CAPTURE = """
#include <immintrin.h>
#include <cstdint>
#include <cstdio>
unsigned char captured[64];
{tile_config}
namespace {{ {initialize} }}
void configure() {{ ggml_tile_config_init(); }}
"""
MAIN = """
#include <cstdio>
extern unsigned char captured[64];
void configure();
int main() {
    configure();
    std::fwrite(captured, 1, 64, stdout);
}
"""


def load_configuration(folder: Path, flags: list[str]) -> bytes:
    """Run the engine's function, with the loading instruction replaced by a copy."""
    text = SOURCE.read_text("utf-8")
    tile_config = re.search(r"^struct tile_config_t\s*\{.*?^\};$", text, re.MULTILINE | re.DOTALL)
    initialize = re.search(
        r"^inline void ggml_tile_config_init\(.*?^\}$", text, re.MULTILINE | re.DOTALL
    )
    assert tile_config
    assert initialize
    source, main, assembly = (folder / name for name in ("tile.cpp", "main.cpp", "tile.s"))
    source.write_text(CAPTURE.format(tile_config=tile_config[0], initialize=initialize[0]))
    main.write_text(MAIN)
    # Neither the processor's instructions nor the engine's definitions matter here.
    kept = [flag for flag in flags[1:] if re.match(r"-(O|f(?!lto)|std)", flag)]
    compiler = [flags[0], *kept]
    subprocess.run(
        [*compiler, "-w", "-mamx-tile", "-S", "-o", str(assembly), str(source)], check=True
    )
    code, count = re.subn(r"\tldtilecfg\t(\S+)\n", copy_instructions, assembly.read_text())
    assert count == 1
    assembly.write_text(code)
    subprocess.run([*compiler, "-o", str(folder / "main"), str(assembly), str(main)], check=True)
    return subprocess.run([folder / "main"], check=True, capture_output=True).stdout


def copy_instructions(match: re.Match[str]) -> str:
    """Copy the 64 bytes through a register that such a short function does not use."""
    parts = re.fullmatch(r"(-?\d*)(\(%\w+\))", match[1])
    assert parts
    base, register = int(parts[1] or "0"), parts[2]
    return "".join(
        f"\tmovups\t{base + offset}{register}, %xmm15\n\tmovups\t%xmm15, captured+{offset}(%rip)\n"
        for offset in range(0, 64, 16)
    )
