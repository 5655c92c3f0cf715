"""Make a copy of llama.cpp's sources with the patches of ``vendor/patches`` in it.

CMake runs this at configure time; by hand: ``python vendor/apply_patches.py SOURCE TARGET``. The
sources stay as they are. A file of the copy is written only where its content changes, so that a
build compiles only what changed, and all patches are tried before the first file is written. The
names of the patches are printed, for ``llama_cpp.build_info()``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PATCHES = Path(__file__).resolve().parent / "patches"
# A clone's history, and vocabularies for upstream's own tests, which are half of the sources.
NOT_COPIED = {".git", "models"}


class PatchError(RuntimeError):
    """A patch could not be applied; the message names it."""


def series(folder: Path = PATCHES) -> list[Path]:
    """The patches in the order in which they are applied."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.patch"))


def parse(patch: Path) -> Any:
    try:
        import patch_ng
    except ImportError as error:
        raise PatchError(
            "the patches need the package patch-ng: run "
            f"`{sys.executable} -m pip install patch-ng`, then build again."
        ) from error
    parsed = patch_ng.fromfile(str(patch))
    if not parsed or parsed.errors:
        raise PatchError(f"{patch.name} is no unified diff.")
    return parsed


def name_in_tree(item: Any) -> str:
    name: str = item.target.decode()
    return name[2:] if name.startswith("b/") else name


def place_hunks(hunks: Sequence[Any], lines: list[bytes]) -> int | None:
    """Set the hunks' line numbers to where their lines are now, which patch-ng does not do.

    Returns:
        The number of the first hunk whose lines are nowhere; None if all are there.
    """
    moved = 0
    for number, hunk in enumerate(hunks, 1):
        wanted = [line[1:].rstrip(b"\r\n") for line in hunk.text if line[:1] in (b" ", b"-")]
        places = [at for at in range(len(lines)) if lines[at : at + len(wanted)] == wanted]
        if not places:
            return number
        expected = hunk.startsrc - 1 + moved
        step = min(places, key=lambda at: abs(at - expected)) + 1 - hunk.startsrc
        hunk.startsrc += step
        hunk.starttgt += step
        moved = step
    return None


def apply(patch: Path, tree: Path) -> None:
    """Apply one patch to the files in ``tree``.

    Raises:
        PatchError: It does not apply.
    """
    parsed = parse(patch)
    for item in parsed.items:
        name = name_in_tree(item)
        try:
            lines = (tree / name).read_bytes().splitlines()
        except OSError:
            raise PatchError(f"{patch.name} does not apply: there is no {name}.") from None
        missing = place_hunks(item.hunks, lines)
        if missing is not None:
            raise PatchError(
                f"{patch.name} does not apply: {name} lacks the lines of its hunk {missing}. If "
                "upstream has mended what it is for, remove it; otherwise make it anew."
            )
    if not parsed.apply(root=str(tree)):
        raise PatchError(f"{patch.name} does not apply.")


def patched_files(source: Path, patches: Sequence[Path]) -> dict[Path, bytes]:
    """The files that the patches change, by their paths in the tree."""
    names = {Path(name_in_tree(item)) for patch in patches for item in parse(patch).items}
    with tempfile.TemporaryDirectory(prefix="llama.cpp-") as scratch:
        tree = Path(scratch)
        for name in names:
            if (source / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, tree / name)
        for patch in patches:
            apply(patch, tree)
        return {name: (tree / name).read_bytes() for name in names}


def files_of(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        if Path(folder) == tree:
            folders[:] = [name for name in folders if name not in NOT_COPIED]
        yield from (Path(folder, name).relative_to(tree) for name in names)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is there with all of its content, or as it was, if this is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.chmod(mode)
    partial.replace(path)


def copy_patched(source: Path, target: Path, folder: Path = PATCHES) -> list[str]:
    """Make ``target`` a patched copy of ``source``, and return the names of the patches.

    Raises:
        PatchError: A patch does not apply; ``target`` is as it was then.
    """
    patches = series(folder)
    patched = patched_files(source, patches)
    wanted = {name for name in files_of(source) if (source / name).is_file()}
    for name in wanted:
        content = patched[name] if name in patched else (source / name).read_bytes()
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            replace(path, content, (source / name).stat().st_mode)
    for name in set(files_of(target)) - wanted:
        (target / name).unlink()
    return [patch.stem for patch in patches]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="llama.cpp's sources")
    parser.add_argument("target", type=Path, help="the folder of the patched copy")
    arguments = parser.parse_args(argv)
    try:
        names = copy_patched(arguments.source.resolve(), arguments.target.resolve())
    except (PatchError, OSError) as error:
        print(f"apply_patches: error: {error}", file=sys.stderr)
        return 1
    print("\n".join(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
