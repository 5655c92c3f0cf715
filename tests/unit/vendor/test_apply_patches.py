"""vendor/patches, and vendor/apply_patches.py, which makes a patched copy of the sources."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import patch_ng
import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "vendor" / "llama.cpp"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "vendor" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


fetch, patches = script("fetch_llama_cpp"), script("apply_patches")
SERIES = patches.series()
FIELDS = ("Subject", "Description", "Bug", "Applied-Upstream", "Remove-When", "Test")
LINES = [f"line {number}\n" for number in range(1, 21)]


def header(patch: Path) -> dict[str, str]:
    text = patch.read_text("utf-8").partition("\n--- ")[0]
    return dict(re.findall(r"^([A-Z][A-Za-z-]+): +(.+(?:\n .+)*)", text, re.MULTILINE))


def diff(name: str, number: int, new: str) -> str:
    """A patch that replaces a line of a file that consists of LINES."""
    return (
        f"--- a/{name}\n+++ b/{name}\n@@ -{number - 1},3 +{number - 1},3 @@\n"
        f" line {number - 1}\n-line {number}\n+{new}\n line {number + 1}\n"
    )


class Place:
    """Sources with a file to patch and one that stays, a series of two patches, and a target."""

    def __init__(self, root: Path) -> None:
        self.source, self.target, self.folder = root / "source", root / "target", root / "patches"
        for name in ("src/one.cpp", "src/two.cpp", ".pin.json", "models/vocab.gguf", ".git/HEAD"):
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(LINES))
        self.folder.mkdir()
        self.patch("0001-first", diff("src/one.cpp", 5, "first"))
        self.patch("0002-second", diff("src/one.cpp", 9, "second"))

    def patch(self, name: str, text: str) -> None:
        (self.folder / f"{name}.patch").write_text(f"Subject: {name}\n\n{text}")

    def copy(self) -> list[str]:
        names: list[str] = patches.copy_patched(self.source, self.target, self.folder)
        return names

    def changed(self) -> list[str]:
        """The lines of the patched file that are not the source's."""
        lines = (self.target / "src/one.cpp").read_text().splitlines(keepends=True)
        return [line.strip() for line in lines if line not in LINES]

    def files(self) -> dict[str, tuple[int, str]]:
        return {
            path.relative_to(self.target).as_posix(): (path.stat().st_mtime_ns, path.read_text())
            for path in self.target.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# The series.


def test_the_series_has_one_patch_per_number() -> None:
    assert SERIES
    assert {path.name for path in patches.PATCHES.iterdir()} == {path.name for path in SERIES}
    assert len({path.name[:4] for path in SERIES}) == len(SERIES)


@pytest.mark.parametrize("patch", SERIES, ids=[path.stem for path in SERIES])
def test_each_patch_says_what_it_is_for_and_what_tests_it(patch: Path) -> None:
    fields = header(patch)
    assert tuple(fields) == FIELDS
    for test in fields["Test"].split():
        file, _, function = test.partition("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("patch", SERIES, ids=[path.stem for path in SERIES])
def test_each_patch_has_the_least_context(patch: Path) -> None:
    for item in patch_ng.fromfile(str(patch)).items:
        for hunk in item.hunks:
            kinds = b"".join(line[:1] for line in hunk.text).decode()
            # The lines between two changes cannot be left out where they are no more than two.
            assert re.fullmatch(r" ?[+-]+( {1,2}[+-]+)* ?", kinds), kinds


def test_the_series_applies_to_the_pinned_sources_and_comes_off_again(tmp_path: Path) -> None:
    parsed = [patch_ng.fromfile(str(patch)) for patch in SERIES]
    names = {patches.name_in_tree(item) for each in parsed for item in each.items}
    for name, content in patches.patched_files(SOURCES, SERIES).items():
        assert content != (SOURCES / name).read_bytes()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for each in reversed(parsed):
        assert each.revert(root=str(tmp_path))
    for name in names:
        assert (tmp_path / name).read_bytes() == (SOURCES / name).read_bytes()


# The copy.


def test_the_copy_is_patched_and_the_sources_are_not(place: Place) -> None:
    assert place.copy() == ["0001-first", "0002-second"]
    assert place.changed() == ["first", "second"]
    assert set(place.files()) == {"src/one.cpp", "src/two.cpp", ".pin.json"}
    assert (place.source / "src/one.cpp").read_text() == "".join(LINES)


def test_what_does_not_change_is_not_written_again(place: Place) -> None:
    place.copy()
    before = place.files()
    place.copy()
    assert place.files() == before
    place.patch("0002-second", diff("src/one.cpp", 9, "other"))
    place.copy()
    assert place.changed() == ["first", "other"]
    after = place.files()
    assert [name for name in before if before[name] != after[name]] == ["src/one.cpp"]


def test_a_patch_that_is_gone_comes_off(place: Place) -> None:
    place.copy()
    for path in place.target.rglob("*"):
        os.utime(path, (1, 1))
    (place.folder / "0001-first.patch").unlink()
    assert place.copy() == ["0002-second"]
    assert place.changed() == ["second"]
    # A build compiles what is newer than its object.
    assert [name for name, (time, _) in place.files().items() if time > 10**9] == ["src/one.cpp"]


def test_what_the_sources_no_longer_have_goes(place: Place) -> None:
    place.copy()
    (place.target / "src/two.cpp.partial").write_text("of an interrupted run")
    (place.source / "src/two.cpp").unlink()
    place.copy()
    assert set(place.files()) == {"src/one.cpp", ".pin.json"}


def test_an_interrupted_copy_is_completed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.copy()
    complete, before = patches.replace, place.files()
    place.patch("0001-first", diff("src/one.cpp", 5, "anew"))
    (place.source / "src/two.cpp").write_text("anew\n")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(patches, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.copy()
    assert place.files() == before
    monkeypatch.setattr(patches, "replace", complete)
    place.copy()
    assert place.changed() == ["anew", "second"]
    assert place.files()["src/two.cpp"][1] == "anew\n"


def test_lines_that_have_moved_are_found(place: Place) -> None:
    path = place.source / "src/one.cpp"
    path.write_text("new\n" * 3 + "".join(LINES[:6]) + "new\n" * 2 + "".join(LINES[6:]))
    place.copy()
    assert place.changed() == ["new"] * 3 + ["first", "new", "new", "second"]


# What does not apply.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (diff("src/one.cpp", 9, "x").replace("-line 9", "-line nine"), "one.cpp lacks the lines"),
        (diff("src/one.cpp", 5, "first"), "src/one.cpp lacks the lines of its hunk 1"),
        (diff("src/three.cpp", 9, "x"), "there is no src/three.cpp"),
        ("no patch at all", "is no unified diff"),
        (diff("src/one.cpp", 9, "x").replace("@@ -8,3", "@@ -8,7"), "is no unified diff"),
    ],
)
def test_a_patch_that_does_not_apply_is_named_and_changes_nothing(
    place: Place, text: str, message: str
) -> None:
    place.copy()
    before = place.files()
    place.patch("0001-first", diff("src/one.cpp", 5, "anew"))
    place.patch("0003-third", text)
    with pytest.raises(patches.PatchError, match=re.escape(message)) as caught:
        place.copy()
    assert str(caught.value).startswith("0003-third.patch ")
    assert place.files() == before


def test_without_patch_ng_the_message_says_how_to_get_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "patch_ng", None)
    with pytest.raises(patches.PatchError, match="-m pip install patch-ng`"):
        place.copy()


# What CMake makes of it.


class Project:
    """A project that only asks for the sources, of which there are as many as it takes."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree = root, root / "vendor" / "llama.cpp"
        for name in ("cmake/Source.cmake", "vendor/fetch_llama_cpp.py", "vendor/apply_patches.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        for name in ("vendor/llama.cpp.toml", "vendor/llama.cpp.lock"):
            shutil.copy(ROOT / name, root / name)
        (root / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.21)\nproject(tiny NONE)\n"
            "include(cmake/Source.cmake)\n"
            'message(STATUS "built from <${LLAMA_CPP_DIR}> with <${LLAMA_CPP_APPLIED_PATCHES}>")\n'
        )
        (root / "vendor/patches").mkdir()
        (root / "vendor/patches/0001-first.patch").write_text(diff("src/llama.cpp", 5, "first"))
        self.make_tree(self.tree)
        fetch.write_stamp(self.tree, fetch.Pin.read(root / "vendor/llama.cpp.toml"))

    def make_tree(self, tree: Path) -> Path:
        for name in fetch.LANDMARKS:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("".join(LINES))
        return tree

    def configure(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        cmake = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent),
                                                            os.environ["PATH"]]))  # fmt: skip
        assert cmake
        command = [cmake, "-S", str(self.root), "-B", str(self.root / "build"),
                   f"-DPython3_EXECUTABLE={sys.executable}", *options]  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if k != "LLAMA_CPP_SOURCE_DIR"}
        return subprocess.run(command, env=clean | environment, capture_output=True, text=True)

    def built_from(self, *options: str, **environment: str) -> tuple[Path, str]:
        done = self.configure(*options, **environment)
        found = re.search("built from <(.*)> with <(.*)>", done.stdout)
        assert found, done.stderr
        return Path(found[1]), found[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "a project")


def test_the_pinned_sources_are_built_patched(project: Project) -> None:
    copy = project.root / "build/patched/llama.cpp"
    assert project.built_from() == (copy, "0001-first")
    assert "first" in (copy / "src/llama.cpp").read_text()
    assert project.built_from("-DLLAMA_CPP_PATCHES=OFF") == (project.tree, "")
    assert project.built_from("-DLLAMA_CPP_PATCHES=", "-DWITH_LLAMA_SERVER=ON")[1] == ""


def test_a_tree_of_ones_own_is_built_as_it_is_unless_asked(project: Project) -> None:
    own = project.make_tree(project.root / "own")
    assert project.built_from(LLAMA_CPP_SOURCE_DIR=str(own)) == (own, "")
    assert project.built_from(f"-DLLAMA_CPP_SOURCE_DIR={own}") == (own, "")
    assert project.built_from("-DLLAMA_CPP_PATCHES=ON")[1] == "0001-first"
    assert "first" not in (own / "src/llama.cpp").read_text()


def test_a_clone_at_vendor_is_built_as_it_is(project: Project) -> None:
    (project.tree / ".pin.json").unlink()
    assert project.built_from() == (project.tree, "")


def test_a_patch_that_does_not_apply_stops_the_build(project: Project) -> None:
    (project.tree / "src/llama.cpp").write_text("other\n")
    done = project.configure()
    assert done.returncode != 0
    assert "apply_patches: error: 0001-first.patch does not apply: src/llama.cpp" in done.stderr
    assert "cannot be patched" in done.stderr


def test_the_bridge_compiles_with_unpatched_sources() -> None:
    folders = [ROOT / "bridge", ROOT / "bridge/template_checks"]
    folders += [
        SOURCES / name
        for name in (
            "common",
            "include",
            "ggml/include",
            "vendor",
            "tools/mtmd",
        )
    ]
    command = ["c++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only"]
    command += [f"-I{folder}" for folder in folders]
    subprocess.run([*command, *map(str, (ROOT / "bridge").glob("*.cpp"))], check=True)
