"""vendor/fetch_llama_cpp.py: where the llama.cpp sources come from, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "vendor" / "fetch_llama_cpp.py"
spec = importlib.util.spec_from_file_location("fetch_llama_cpp", SCRIPT)
assert spec is not None and spec.loader is not None
fetch = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = fetch  # dataclasses look their module up there
spec.loader.exec_module(fetch)

Patch = pytest.MonkeyPatch
Member = tuple[tarfile.TarInfo, bytes]
TOP = "tiny-1.0"
INNER = f"{TOP}/vendor/llama.cpp"
COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
EXCLUDED = (".git", ".github/ci.yml", "docs/a.md", "media/logo.png", "tools/ui/a/b.js")
# Names that merely begin or end like an excluded one.
LOOKALIKE = (".gitignore", "docs.md", "docs2/a.md", "src/docs/a.md", "tools/ui.txt", "tools/ui2/a")
TREE = (*fetch.LANDMARKS, *LOOKALIKE, "src/other.cpp", "include/ünï côde.h")
METADATA = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
BACKEND = f"""
import os
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.mkdir(os.path.join(directory, "{TOP}.dist-info"))
    with open(os.path.join(directory, "{TOP}.dist-info", "METADATA"), "w") as metadata:
        metadata.write({METADATA!r})
    return "{TOP}.dist-info"
"""
IN_TREE = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
ON_PATH = '[build-system]\nrequires = []\nbuild-backend = "tiny_backend_of_this_test"\n'


def plain(name: str, content: str = "text", mode: int = 0o644) -> Member:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content.encode()), mode
    return member, content.encode()


def special(name: str, kind: str = "", linkname: str = "") -> Member:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = getattr(tarfile, f"{kind}TYPE", b"Z"), linkname
    return member, b""


def subtree(names: Iterable[str] = TREE, content: str = "text") -> list[Member]:
    return [plain(f"{INNER}/{name}", content) for name in names]


def make_tree(folder: Path, names: Iterable[str] = TREE) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
    return folder


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refusal(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(fetch.FetchError) as caught:
        call(*arguments)
    return str(caught.value)


class Place:
    """A vendor folder with its pin files, and the folder that plays the package index."""

    def __init__(self, root: Path) -> None:
        self.root, self.vendor, self.index = root, root / "vendor", root / "index"
        self.scratch, self.archive = root / "scratch", root / "a.tar.gz"
        for folder in (self.root, self.vendor, self.index, self.scratch):
            folder.mkdir()
        self.tree = self.vendor / "llama.cpp"
        self.pin(COMMIT)
        self.lock("0" * 64)

    def pin(self, commit: str) -> None:
        (self.vendor / "llama.cpp.toml").write_text(
            f'commit = "{commit}"\nversion = "9.9"\n[archive]\nsubtree = "vendor/llama.cpp"\n'
            'exclude = [".git", ".github", "docs", "media", "tools/ui"]\n'
        )

    def lock(self, sha256: str) -> None:
        (self.vendor / "llama.cpp.lock").write_text(f"tiny==1.0 \\\n    --hash=sha256:{sha256}\n")

    def pack(self, members: Iterable[Member]) -> None:
        with tarfile.open(self.archive, "w:gz") as archive:
            for member, data in members:
                archive.addfile(member, io.BytesIO(data))

    def publish(self, pyproject: str = IN_TREE, content: str = "text") -> None:
        head = [plain(f"{TOP}/PKG-INFO", METADATA), plain(f"{TOP}/pyproject.toml", pyproject)]
        head += [plain(f"{TOP}/backend.py", BACKEND)]
        self.pack(head + subtree((*TREE, *EXCLUDED), content))
        shutil.copy(self.archive, self.index / f"{TOP}.tar.gz")
        self.lock(hashlib.sha256(self.archive.read_bytes()).hexdigest())

    def provide(self, source_dir: str | None = None) -> Any:
        return fetch.provide(source_dir, self.vendor)

    def extract(self, members: Iterable[Member] | None = None) -> None:
        if members is not None:
            self.pack(members)
        fetch.extract(self.archive, self.tree, fetch.Pin.read(self.vendor / "llama.cpp.toml"))

    def assert_nothing_left(self) -> None:
        assert {path.suffix for path in self.vendor.iterdir()} == {".toml", ".lock"}
        assert list(self.scratch.iterdir()) == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: Patch) -> Place:
    place = Place(tmp_path / "a place")  # people have spaces in their paths
    for name in list(os.environ):
        if name.startswith(("PIP_", "PEP517_", "_PYPROJECT_HOOKS_", fetch.SOURCE_DIR_VARIABLE)):
            monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
    settings["PIP_FIND_LINKS"] = place.index.as_uri()  # pip splits a plain path at its spaces
    settings |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(place.scratch))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(place.scratch))
    return place


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_source_dir_comes_before_the_vendored_tree(
    place: Place, monkeypatch: Patch, how: str
) -> None:
    make_tree(place.tree)
    own = make_tree(place.root / "own")
    monkeypatch.setenv(fetch.SOURCE_DIR_VARIABLE, str(own if how == "environment" else "nowhere"))
    assert place.provide(str(own) if how == "argument" else None) == own
    assert files_in(own) == set(TREE)


def test_wrong_source_dir_is_named_with_what_it_lacks(place: Place) -> None:
    make_tree(place.tree)
    own = make_tree(place.root / "own", [n for n in fetch.LANDMARKS if n != "include/llama.h"])
    message = refusal(place.provide, str(own))
    assert str(own) in message and "lacks include/llama.h." in message
    assert "CMakeLists.txt" in refusal(place.provide, str(place.root / "absent"))


@pytest.mark.parametrize("extra", ["mine.txt", ".git/HEAD", ".git", fetch.STAMP])
def test_complete_tree_without_a_stamp_is_used_as_it_is(place: Place, extra: str) -> None:
    make_tree(place.tree, (*TREE, extra))  # the index is empty: a download would fail
    assert place.provide() == place.tree
    assert files_in(place.tree) == {*TREE, extra}


@pytest.mark.parametrize("git", [".git/HEAD", ".git"], ids=["clone", "worktree"])
def test_git_checkout_that_cannot_be_built_is_never_deleted(place: Place, git: str) -> None:
    place.publish()
    make_tree(place.tree, [git, "src/llama.cpp", "mine.txt"])
    message = refusal(place.provide)
    assert "git checkout" in message and "include/llama.h" in message and COMMIT[:12] in message
    assert files_in(place.tree) == {git, "src/llama.cpp", "mine.txt"}


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("names", [(), ("src/llama.cpp",)], ids=["dangling", "incomplete"])
def test_link_of_the_user_is_never_replaced(place: Place, names: tuple[str, ...]) -> None:
    place.publish()
    own = make_tree(place.root / "own", names)
    place.tree.symlink_to(own)
    assert "is a link that cannot be built" in refusal(place.provide)
    assert place.tree.is_symlink() and files_in(own) == set(names)


def test_fetched_tree_is_used_again_without_the_index(place: Place) -> None:
    place.publish()
    place.provide()
    shutil.rmtree(place.index)
    make_tree(place.tree, [".DS_Store", "gguf-py/__pycache__/gguf.pyc"])
    assert place.provide() == place.tree


@pytest.mark.parametrize("lost", ["src/llama.cpp", "src/other.cpp", fetch.STAMP])
def test_damaged_folder_is_fetched_again(place: Place, lost: str) -> None:
    place.publish()
    place.provide()
    (place.tree / lost).unlink()
    if lost == fetch.STAMP:  # then it is a half-extracted folder of unknown origin
        (place.tree / "LICENSE").unlink()
    place.provide()
    assert files_in(place.tree) == {*TREE, fetch.STAMP}


def test_changed_pin_is_fetched_again(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.publish()
    place.provide()
    place.pin(OTHER_COMMIT)
    place.publish(content="newer")
    place.provide()
    assert f"it holds commit {COMMIT}, the pin is {OTHER_COMMIT}" in capfd.readouterr().err
    assert (place.tree / "src/llama.cpp").read_text() == "newer"


@pytest.mark.parametrize("failure", ["download", "extraction"])
def test_failed_refetch_leaves_the_old_tree(place: Place, failure: str) -> None:
    place.publish()
    place.provide()
    place.pin(OTHER_COMMIT)
    if failure == "download":
        place.lock("1" * 64)
        refusal(place.provide)
    else:
        refusal(place.extract, subtree(["src/llama.cpp"]))
    assert files_in(place.tree) == {*TREE, fetch.STAMP}


def test_only_the_subtree_without_the_excluded_parts_is_read(
    place: Place, monkeypatch: Patch
) -> None:
    opened: list[str] = []
    real = tarfile.TarFile.extractfile

    def spy(self: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
        opened.append(member.name)
        return real(self, member)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", spy)
    outside = [plain(f"{TOP}/setup.py"), plain("/etc/evil"), plain(f"{TOP}/../../evil")]
    outside += [plain(f"{TOP}/vendor/llama.cpp2/a"), plain(f"{TOP}/vendor/other/llama.cpp/a")]
    outside += [special(f"{TOP}/link", "SYM", "/"), plain("vendor/llama.cpp/a")]
    # Left out before it is judged: a link in docs/ is no reason to refuse the sources.
    outside += [special(f"{INNER}/docs/link", "SYM", "a.md")]
    place.extract(outside + subtree((*TREE, *EXCLUDED)))
    assert sorted(opened) == sorted(f"{INNER}/{name}" for name in TREE)
    assert files_in(place.tree) == {*TREE, fetch.STAMP}


@pytest.mark.skipif(os.name == "nt", reason="no executable bit there")
def test_executable_bit_is_kept_and_nothing_more_of_the_mode(place: Place) -> None:
    place.extract([plain(f"{INNER}/tool.sh", mode=0o6777), *subtree()])
    assert (place.tree / "tool.sh").stat().st_mode & 0o7777 == 0o755
    assert not (place.tree / "src/llama.cpp").stat().st_mode & 0o111


UNSAFE_PATHS = (
    r"../../../../evil src/../../evil /etc/evil ./evil C:/evil C:evil src/evil:stream "
    r"..\..\evil \\host\share\evil evil%0.h"
)
UNSAFE = {path: plain(f"{INNER}/{path.replace('%0', chr(0))}") for path in UNSAFE_PATHS.split()}
UNSAFE |= {f"top {top}": plain(f"{top}/vendor/llama.cpp/evil") for top in ("", "..", "C:", "a\\b")}
UNSAFE |= {f"link to {to}": special(f"{INNER}/evil", "SYM", to) for to in ("src", "../..", "/")}
UNSAFE |= {kind: special(f"{INNER}/evil", kind, INNER) for kind in ("LNK", "CHR", "BLK", "FIFO")}
UNSAFE |= {"unknown": special(f"{INNER}/evil"), "root link": special(INNER, "SYM", "/")}
UNSAFE["root file"] = plain(INNER)


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("kind", UNSAFE)
def test_unsafe_member_is_refused_and_nothing_is_installed(
    place: Place, kind: str, position: str
) -> None:
    evil, data = UNSAFE[kind]
    # A null byte survives only in the extended header.
    evil.pax_headers = {"path": evil.name} if "\0" in evil.name else {}
    members = [(evil, data), *subtree()] if position == "first" else [*subtree(), (evil, data)]
    message = refusal(place.extract, members)
    assert "unsafe member" in message and repr(evil.name) in message
    place.assert_nothing_left()
    assert list(place.root.rglob("*evil*")) == []


@pytest.mark.parametrize("names", [(), [n for n in TREE if n != "ggml/include/ggml.h"]])
def test_archive_with_another_tree_is_refused(place: Place, names: list[str]) -> None:
    message = refusal(place.extract, [plain(f"{TOP}/setup.py"), *subtree(names)])
    assert "a.tar.gz is not the expected one" in message and "ggml/include/ggml.h" in message
    place.assert_nothing_left()


@pytest.mark.parametrize("kind", range(7))
def test_damaged_archive_is_refused(place: Place, kind: int) -> None:
    noise = [plain(f"{INNER}/{i}", random.Random(i).randbytes(3000).hex()) for i in range(20)]
    place.pack([*noise, *subtree()])
    whole = place.archive.read_bytes()
    middle = len(whole) // 2
    changed = whole[:middle] + bytes(64) + whole[middle + 64 :]
    cut = (b"", whole[:64], whole[:middle], whole[:-9])
    damaged = (*cut, changed, b"<html>Log in", gzip.compress(b"no tar" * 999))
    place.archive.write_bytes(damaged[kind])
    assert "a.tar.gz is damaged" in refusal(place.extract)
    place.assert_nothing_left()


def test_interrupted_extraction_leaves_nothing(place: Place, monkeypatch: Patch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupt)
    with pytest.raises(KeyboardInterrupt):
        place.extract(subtree())
    place.assert_nothing_left()


def test_tree_that_another_build_installed_meanwhile_is_kept(place: Place) -> None:
    place.extract(subtree(content="theirs"))
    place.extract(subtree(content="ours"))
    assert (place.tree / "src/llama.cpp").read_text() == "theirs"
    assert not list(place.vendor.glob(".llama.cpp.*"))


def test_other_hash_is_refused_and_nothing_is_installed(place: Place) -> None:
    place.publish()
    place.lock("1" * 64)
    message = refusal(place.provide)
    assert "sha256 differs from vendor/llama.cpp.lock" in message and "1" * 64 in message
    (place.vendor / "llama.cpp.lock").write_text("tiny==1.0\n")
    assert "Hashes are required" in refusal(place.provide)
    place.assert_nothing_left()


def test_archive_missing_from_the_index_names_the_other_ways(place: Place) -> None:
    message = refusal(place.provide)
    assert "no network, or an index that does not carry it" in message
    assert f"set {fetch.SOURCE_DIR_VARIABLE}" in message and "a git clone of" in message
    assert "No matching distribution found for tiny==1.0" in message
    place.assert_nothing_left()


def test_python_without_pip_says_how_to_get_it(place: Place, monkeypatch: Patch) -> None:
    venv.create(place.root / "bare", with_pip=False)
    python = place.root / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "executable", str(python))
    assert f"this Python has no pip: run `{python} -m ensurepip`" in refusal(place.provide)
    place.assert_nothing_left()


def test_missing_build_backend_is_named(place: Place) -> None:
    place.publish(pyproject=ON_PATH)
    assert "run `pip install scikit-build-core`" in refusal(place.provide)
    place.assert_nothing_left()


def test_settings_meant_for_the_outer_build_do_not_reach_pip(
    place: Place, monkeypatch: Patch
) -> None:
    (place.root / "tiny_backend_of_this_test.py").write_text(BACKEND)
    (place.root / "constraints.txt").write_text("tiny==2.0\n")
    monkeypatch.setenv("PYTHONPATH", str(place.root))
    monkeypatch.setenv("PIP_CONSTRAINT", (place.root / "constraints.txt").as_uri())
    for name in ("PEP517_BACKEND_PATH", "_PYPROJECT_HOOKS_BACKEND_PATH"):
        monkeypatch.setenv(name, str(place.scratch))
    place.publish(pyproject=ON_PATH)
    assert place.provide() == place.tree


def run_script(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", shutil.copy(SCRIPT, place.vendor), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def test_command_downloads_the_pinned_archive_and_prints_only_the_path(place: Place) -> None:
    place.publish()
    result = run_script(place)
    assert (result.returncode, result.stdout) == (0, f"{place.tree.as_posix()}\n")
    assert f"downloading llama.cpp 9.9 ({COMMIT[:12]})" in result.stderr
    assert files_in(place.tree) == {*TREE, fetch.STAMP} and not list(place.scratch.iterdir())


@pytest.mark.parametrize("source_dir", [None, "nowhere"])
def test_command_fails_with_a_message_and_no_path(place: Place, source_dir: str | None) -> None:
    result = run_script(place, *(["--source-dir", source_dir] if source_dir else []))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("fetch_llama_cpp: error: ") == 1
    assert "Traceback" not in result.stderr


def test_real_pin_is_one_exact_requirement_with_one_sha256() -> None:
    lock = (SCRIPT.parent / "llama.cpp.lock").read_text(encoding="utf-8")
    assert re.fullmatch(r"[\w.-]+==[\d.]+ \\\n {4}--hash=sha256:[0-9a-f]{64}\n", lock)
    pin = fetch.Pin.read(SCRIPT.parent / "llama.cpp.toml")
    assert re.fullmatch(r"[0-9a-f]{40}", pin.commit) and pin.subtree == "vendor/llama.cpp"
    assert set(pin.exclude) >= {".git", ".github", "docs", "media", "tools/ui"}
