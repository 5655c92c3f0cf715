"""``Llama.from_pretrained`` against a small server that answers like the Hugging Face Hub."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import pytest
from huggingface_hub import constants
from llama_kit import PROMPT, open_llama, text_of
from zoo import Zoo, write_llama

from llama_cpp.errors import LlamaError, ModelNotFoundError
from llama_cpp.llama import Llama

REPO = "owner/name"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OPTIONS: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "verbose": False}


class Hub(ThreadingHTTPServer):
    """One repository with some files."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files = files
        self.served: list[str] = []
        self.is_down = False
        self.breaks = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """What the hub says to the requests of huggingface-hub."""

    server: Hub

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        files = self.server.files
        if self.server.is_down:
            self._refuse(503)
        elif path == f"/api/models/{REPO}":
            siblings = [{"rfilename": name} for name in files]
            self._send(json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode())
        else:
            name = path.removeprefix(f"/{REPO}/resolve/").partition("/")[2]
            if name in files and not self.server.breaks:
                if self.command == "GET":
                    self.server.served.append(name)
                self._send(files[name])
            else:
                is_file = path.startswith(f"/{REPO}/")
                self._refuse(404, "EntryNotFound" if is_file else "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_hash(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


def _hash(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture(scope="module")
def files(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        split = functools.partial(gguf.GGUFWriter, split_max_tensors=8)
        patch.setattr(gguf, "GGUFWriter", split)
        write_llama(folder / "tiny-split.gguf")
    parts = {f"parts/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    assert len(parts) == 3
    return {
        "README.md": b"A model",
        "config.json": b"{}",
        "tiny-q8_0.gguf": zoo.llama.read_bytes(),
        "tiny-Q4_K_M.gguf": zoo.llama_bpe.read_bytes(),
        **parts,
    }


@pytest.fixture
def hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("pattern", ["tiny-q8_0.gguf", "*q8_0.gguf", "*-q?_0.gguf"])
def test_a_file_is_found_by_name_or_pattern(
    hub: Hub, zoo: Zoo, tmp_path: Path, pattern: str
) -> None:
    with Llama.from_pretrained(REPO, pattern, cache_dir=tmp_path, **OPTIONS) as llm:
        assert llm.n_ctx() == 256
        assert Path(llm.model_path).name == "tiny-q8_0.gguf"
        assert Path(llm.model_path).is_relative_to(tmp_path)
        with open_llama(zoo.llama) as local:
            assert text_of(llm, PROMPT) == text_of(local, PROMPT)
    assert hub.served == ["tiny-q8_0.gguf"]


def test_what_is_there_already_is_not_downloaded_again(hub: Hub, tmp_path: Path) -> None:
    for _ in range(2):
        Llama.from_pretrained(REPO, "*q8_0.gguf", cache_dir=tmp_path, **OPTIONS).close()
    assert hub.served == ["tiny-q8_0.gguf"]


@pytest.mark.parametrize("pattern", ["parts/*", "*split*00002*.gguf"])
def test_of_a_split_model_all_parts_come(hub: Hub, zoo: Zoo, tmp_path: Path, pattern: str) -> None:
    with Llama.from_pretrained(REPO, pattern, local_dir=tmp_path, **OPTIONS) as llm:
        assert llm.model_path == str(tmp_path / "parts" / "tiny-split-00001-of-00003.gguf")
        with open_llama(zoo.llama) as whole:
            assert text_of(llm, PROMPT) == text_of(whole, PROMPT)
    assert len(hub.served) == 3


def test_other_files_come_along(hub: Hub, tmp_path: Path) -> None:
    llm = Llama.from_pretrained(
        REPO, "*Q4_K_M.gguf", additional_files=["*.json", "README.md"], local_dir=tmp_path,
        local_dir_use_symlinks=False, **OPTIONS,
    )  # fmt: skip
    llm.close()
    assert (tmp_path / "config.json").read_bytes() == b"{}"
    assert (tmp_path / "README.md").read_bytes() == b"A model"
    assert Path(llm.model_path) == tmp_path / "tiny-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*q2_k.gguf", r"owner/name has no file like '\*q2_k.gguf'; it has .*tiny-q8_0.gguf"),
        ("nothing.gguf", "has no file like 'nothing.gguf'"),
        ("tiny-[qQ]*.gguf", "fits more than one model .* tiny-Q4_K_M.gguf, tiny-q8_0.gguf"),
        (None, "fits more than one model"),
    ],
)
def test_names_that_mean_no_single_model_are_refused(
    hub: Hub, tmp_path: Path, pattern: str | None, message: str
) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        Llama.from_pretrained(REPO, pattern, cache_dir=tmp_path)
    assert not hub.served


def test_a_model_that_lacks_a_part_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {name: data for name, data in hub.files.items() if "00003-of" not in name}
    with pytest.raises(ModelNotFoundError, match=r"lacks parts .*tiny-split-00003-of-00003.gguf"):
        Llama.from_pretrained(REPO, "parts/*", cache_dir=tmp_path)
    assert not hub.served


def test_other_files_that_are_not_there_are_told(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no file like 'mmproj\*'"):
        Llama.from_pretrained(REPO, "*q8_0.gguf", additional_files=["mmproj*"], cache_dir=tmp_path)
    assert not hub.served


# Without a network.


@pytest.fixture(params=["offline mode", "no network", "server error"])
def no_hub(request: pytest.FixtureRequest, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call what it returns, and the Hub cannot be asked any more."""

    def leave() -> None:
        if request.param == "offline mode":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        elif request.param == "no network":
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        else:
            hub.is_down = True

    return leave


@pytest.mark.parametrize("pattern", ["tiny-q8_0.gguf", "*q8_0.gguf", "parts/*", None])
@pytest.mark.parametrize("place", ["cache_dir", "local_dir"])
def test_what_was_downloaded_before_is_found(
    hub: Hub,
    no_hub: Any,
    tmp_path: Path,
    place: str,
    pattern: str | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, Any] = {**OPTIONS, place: tmp_path}
    with Llama.from_pretrained(REPO, pattern or "*q8_0.gguf", **options) as online:
        path = online.model_path
    served = list(hub.served)
    no_hub()
    capfd.readouterr()
    with Llama.from_pretrained(REPO, pattern, **options) as llm:
        assert llm.model_path == path
    assert capfd.readouterr() == ("", "")
    assert hub.served == served


def test_what_was_not_downloaded_before_is_one_error(
    no_hub: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    no_hub()
    missing = r"cannot be asked for owner/name \(.*\)\. .* \(HF_HUB_OFFLINE=1\): nothing of owner/"
    with pytest.raises(ModelNotFoundError, match=missing):
        Llama.from_pretrained(REPO, "*q8_0.gguf", cache_dir=tmp_path, **OPTIONS)
    with pytest.raises(ModelNotFoundError, match=missing):
        Llama.from_pretrained(REPO, "*q8_0.gguf", local_dir=tmp_path / "new", **OPTIONS)
    assert capfd.readouterr() == ("", "")


def test_of_what_was_downloaded_before_another_file_is_not_there(
    hub: Hub, no_hub: Any, tmp_path: Path
) -> None:
    Llama.from_pretrained(REPO, "*q8_0.gguf", cache_dir=tmp_path, **OPTIONS).close()
    no_hub()
    with pytest.raises(ModelNotFoundError, match=r"=1\): owner/name has no file like '\*K_M\*'"):
        Llama.from_pretrained(REPO, "*K_M*", cache_dir=tmp_path, **OPTIONS)


def test_a_repository_that_is_not_there_is_told(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="has no model 'owner/other'"):
        Llama.from_pretrained("owner/other", "*.gguf", cache_dir=tmp_path)


def test_a_download_that_fails_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.breaks = True
    with pytest.raises(LlamaError, match=r"\['tiny-q8_0.gguf'\] of 'owner/name' cannot be downl"):
        Llama.from_pretrained(REPO, "*q8_0.gguf", cache_dir=tmp_path)
