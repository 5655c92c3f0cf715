"""What told a setting: errors say it, and variables of other programs are no settings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_kit import MODEL, serving

from llama_cpp import __version__
from llama_cpp.errors import InvalidArgumentError
from llama_cpp.server import cli, environment
from llama_cpp.server.settings import ConfigFileSettings, ModelSettings, ServerSettings, Settings


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    environment._is_meant.cache_clear()


def error_of(*flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    with ThreadPoolExecutor(1) as own:
        assert own.submit(cli.main, flags).result() in (1, 2)
    return capsys.readouterr().err.splitlines()[-1].partition("error: ")[2]


def test_errors_name_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of("--model", "m", "--n_ctx", "-1", capsys=capsys)
    assert error.startswith("--n_ctx: n_ctx: Input should be greater")
    error = error_of("--model", "m", "--api_key_file", "none", capsys=capsys)
    assert error.startswith("--api_key_file: api_key_file=none cannot be read")
    error = error_of("--model", MODEL["model"], "--n_threads", "0", capsys=capsys)
    assert error.startswith("--n_threads: n_threads=0 must be")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("N_CTX", "many", "N_CTX: n_ctx: Input should be a valid integer"),
        ("LLAMA_CPP_N_CTX", "-1", "LLAMA_CPP_N_CTX: n_ctx: Input should be greater"),
        ("llama_cpp_max_queue", "x", "llama_cpp_max_queue: max_queue: Input should be"),
        ("PORT", "99999", "PORT: port: Input should be less"),
        ("KV_OVERRIDES", "a=int:1", "KV_OVERRIDES=a=int:1 must be JSON"),
        ("TENSOR_SPLIT", '["x"]', "TENSOR_SPLIT: tensor_split: Input should be a valid number"),
        ("API_KEY", ",", "there is no key in api_key"),
        ("SSL_CERTFILE", "none", "SSL_KEYFILE"),
        ("CONFIG_FILE", "none.json", "config_file=none.json cannot be read"),
    ],
)
def test_errors_name_the_variable(
    variable: str,
    value: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODEL", "none.gguf")
    monkeypatch.setenv(variable, value)
    assert message.lower() in error_of(capsys=capsys).lower()


@pytest.mark.parametrize("name", ["config.yaml", "config.json", "tabs.json"])
@pytest.mark.parametrize("is_flat", [True, False])
def test_errors_name_the_line(
    tmp_path: Path, name: str, is_flat: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name

    def written(n_ctx: object, port: object = 1, wrong: str = "n_batch") -> None:
        model = {"model": MODEL["model"], wrong: 64, "n_ctx": n_ctx}
        values = {"port": port, **(model if is_flat else {"models": [model]})}
        path.write_text(json.dumps(values, indent="\t" if name.startswith("tabs") else 2))

    own = 5 if is_flat else 7
    for n_ctx, port, wrong, message in (
        ("many", 1, "n_batch", f"{name}, line {own}: n_ctx: Input should be a valid integer"),
        (8, -1, "n_batch", f"{name}, line 2: port: Input should be greater"),
        (8, 1, "n_bacht", f"{name}, line {own - 1}: 'n_bacht' is no setting: is 'n_batch' meant?"),
    ):
        written(n_ctx, port, wrong)
        assert message in error_of("--config_file", str(path), capsys=capsys)
        with pytest.raises(InvalidArgumentError, match=f"line {message.split('line ')[1][:2]}"):
            ConfigFileSettings.from_file(str(path))
    # What only the model finds out.
    written(8, 1, "n_threads")
    path.write_text(path.read_text().replace("64", "0"))
    error = error_of("--config_file", str(path), capsys=capsys)
    assert f"{name}, line {own - 1}: n_threads=0 must be" in error
    # A flag wins, and is then what is wrong.
    written(8)
    error = error_of("--config_file", str(path), "--n_ctx", "-5", capsys=capsys)
    assert error.startswith("--n_ctx: n_ctx: ")


def test_what_is_missing_may_be_set_in_three_places(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(capsys=capsys)
    assert error == "model: Field required (--model, LLAMA_CPP_MODEL or MODEL)"


def test_variables_have_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LLAMA_CPP_MODEL": "a.gguf", "MODEL": "b.gguf", "N_CTX": "7", "LLAMA_CPP_MAX_QUEUE": "3",
        "N_PARALLEL": "9", "ACCESS_LOG": "false", "LLAMA_CPP_API_KEY": "", "LLAMA_CPP_N_BATCH": "",
        "N_BATCH": "11",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.model, settings.n_ctx, settings.max_queue) == ("a.gguf", 7, 3)
    # These are llama-cpp-python's not, and who sets them means another program.
    assert (settings.n_parallel, settings.access_log) == (4, True)
    assert (settings.api_key, settings.n_batch) == (None, 11)


def test_lists_and_unions_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MODEL": "m", "N_GPU_LAYERS": "auto", "TENSOR_SPLIT": "[0.5, 1]", "TYPE_K": "q8_0",
        "FLASH_ATTN": "true", "LLAMA_CPP_LORA_ADAPTERS": '{"a": "b"}', "NUMA": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings = ModelSettings()
    assert (settings.n_gpu_layers, settings.tensor_split, settings.type_k) == ("auto", [0.5, 1], 8)
    assert (settings.flash_attn, settings.lora_adapters) == (True, {"a": "b"})
    assert settings.numa == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOST", "x86_64-conda-linux-gnu"), ("HOST", "a b"), ("PORT", "tcp://10.0.0.1:80")],
)
def test_host_and_port_of_other_programs_are_ignored(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    settings = ServerSettings()
    assert (settings.host, settings.port) == ("localhost", 8000)
    assert f"{name}={value} is no " in caplog.text and f"set LLAMA_CPP_{name}" in caplog.text


def test_host_and_port_that_are_meant_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::1", "localhost"):
        monkeypatch.setenv("HOST", host)
        monkeypatch.setenv("PORT", "8123")
        assert (ServerSettings().host, ServerSettings().port) == (host, 8123)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out.strip()) == (0, __version__)


def test_files_of_https_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    model = ("--model", "none.gguf", "--ssl_keyfile", str(wrong))
    error = error_of(*model, "--ssl_certfile", "none.pem", capsys=capsys)
    assert error == "--ssl_certfile: ssl_certfile=none.pem: there is no such file"
    error = error_of(*model, "--ssl_certfile", str(wrong), capsys=capsys)
    assert f"ssl_certfile={wrong} and ssl_keyfile={wrong} must be a certificate" in error


@pytest.mark.parametrize("key", ["schlüssel", "clé à", "ключ", "鍵", "plain"])
def test_keys_may_have_any_characters(key: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"other\n{key}\n", encoding="utf-8")
    with serving(api_key_file=str(file)) as server:
        forms = [key.encode()] + ([key.encode("latin-1")] if key[0] in "sc" else [])
        for form in forms:
            for headers in ({b"Authorization": b"Bearer " + form}, {b"x-api-key": form}):
                assert server.client.get("/v1/models", headers=headers).status_code == 200
        for wrong in (b"?" * len(key), key.encode("utf-16-le").hex().encode(), b"\xff"):
            refused = server.client.get("/v1/models", headers={b"x-api-key": wrong})
            assert refused.status_code == 401
