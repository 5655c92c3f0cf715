"""Flags, environment variables, files of configuration; what lets nobody in by mistake."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_kit import MODEL, serving

from llama_cpp.errors import InvalidArgumentError
from llama_cpp.models.params import ContextParams, ModelParams, arguments_of
from llama_cpp.sampling.params import NAMES
from llama_cpp.server import cli
from llama_cpp.server.app import create_app
from llama_cpp.server.loading import add_rpc_servers, overrides
from llama_cpp.server.settings import ConfigFileSettings, ModelSettings, ServerSettings, Settings
from llama_cpp.server.types import Sampling


def parsed(*flags: str) -> Settings:
    parser = argparse.ArgumentParser()
    cli.add_args_from_model(parser, Settings)
    settings: Settings = cli.parse_model_from_args(Settings, parser.parse_args(flags))
    return settings


def test_every_setting_is_a_flag() -> None:
    settings = parsed(
        "--model", "m.gguf", "--n_ctx", "512", "--n-parallel", "3", "--use_mmap", "false",
        "--flash_attn", "auto", "--tensor_split", "0.5", "1.5", "--kv_overrides", "a=int:1",
        "--host", "0.0.0.0", "--n_gpu_layers", "auto", "--interrupt_requests", "true",
        "--api_key", "x", "--context_shift", "--lora_adapters", '{"a": "b.gguf"}',
    )  # fmt: skip
    assert settings.lora_adapters == {"a": "b.gguf"}
    assert (settings.n_ctx, settings.n_parallel, settings.use_mmap) == (512, 3, False)
    assert (settings.flash_attn, settings.tensor_split) == ("auto", [0.5, 1.5])
    assert (settings.host, settings.n_gpu_layers, settings.context_shift) == (
        "0.0.0.0",
        "auto",
        True,
    )
    assert settings.interrupt_requests


def test_flags_that_a_parser_has_are_left_alone() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-ctx", type=float, default=1.5)
    cli.add_args_from_model(parser, Settings)
    given = parser.parse_args(["--n_batch", "7"])
    assert (given.n_ctx, given.n_batch) == (1.5, 7)


def test_environment_variables_tell_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "from-environment.gguf")
    monkeypatch.setenv("N_CTX", "777")
    monkeypatch.setenv("PORT", "9999")
    settings = parsed("--n_ctx", "5")
    assert (settings.model, settings.n_ctx, settings.port) == ("from-environment.gguf", 5, 9999)


def test_minus_one_thread_is_all_of_them() -> None:
    settings = ModelSettings(model="m", n_threads=-1, n_threads_batch=-1)
    assert settings.n_threads is not None and settings.n_threads >= 1
    assert settings.n_threads == settings.n_threads_batch


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_files_of_configuration(tmp_path: Path, suffix: str) -> None:
    values: dict[str, Any] = {
        "host": "127.0.0.1", "port": 8111, "api_key": "k",
        "models": [{"model": "a.gguf", "model_alias": "a"}, {"model": "b.gguf", "n_ctx": 64}],
    }  # fmt: skip
    path = tmp_path / f"config.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(values))
    else:
        path.write_text(
            "host: 127.0.0.1\nport: 8111\napi_key: k\nmodels:\n"
            "  - {model: a.gguf, model_alias: a}\n  - {model: b.gguf, n_ctx: 64}\n"
        )
    config = ConfigFileSettings.from_file(str(path))
    assert (config.port, config.keys) == (8111, ["k"])
    assert [model.names for model in config.models] == [["a"], ["b.gguf"]]
    assert config.models[1].n_ctx == 64


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"models": []}', '{"models": [{"n_ctx": 1}]}', "\x00"]
)
def test_wrong_files_are_told(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert cli.main(["--config_file", str(path)]) in (1, 2)
    assert "error: " in capsys.readouterr().err


def test_flags_win_over_the_file_and_that_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"port": 1, "max_queue": 2, "models": [{"model": "m", "n_ctx": 64}]}')
    for name in ("PORT", "N_CTX", "N_PARALLEL", "N_BATCH"):
        monkeypatch.setenv(name, "7")
    flags = {"port": 3, "n_parallel": 5, "model_alias": "alias"}
    config = ConfigFileSettings.from_file(str(path), flags)
    [model] = config.models
    assert (config.port, config.max_queue) == (3, 2)
    assert (model.n_ctx, model.n_parallel, model.n_batch) == (64, 5, 7)
    assert model.names == ["alias"]


def test_a_file_may_be_about_one_model(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("port: 1\nn_ctx: 64\n")
    config = ConfigFileSettings.from_file(str(path), {"model": "m.gguf"})
    assert (config.port, config.models[0].model, config.models[0].n_ctx) == (1, "m.gguf", 64)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prot": 1, "model": "m"}, "'prot' is no setting: is 'port' meant"),
        ({"models": [{"model": "m", "n_ctxx": 1}]}, "'n_ctxx' is no setting: is 'n_ctx' meant"),
        ({"models": [{"model": "m", "port": 1}]}, "'port' is no setting"),
        ({"models": [{"model": "a"}, {"model": "b"}]}, "--n_ctx is about one model"),
    ],
)
def test_what_a_file_cannot_mean_is_told(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InvalidArgumentError, match=message):
        ConfigFileSettings.from_file(str(path), {"n_ctx": 5})


def test_types_have_names_and_layers_numbers() -> None:
    settings = parsed("--model", "m", "--type_k", "q8_0", "--type_v", "1", "--n_gpu_layers", "8")
    assert (settings.type_k, settings.type_v, settings.n_gpu_layers) == (8, 1, 8)


def test_the_log_of_requests_has_one_line_for_each(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serving(access_log=True) as server,
        caplog.at_level(logging.INFO, "llama_cpp.server.access"),
    ):
        server.get("/x%0A%22forged")
    assert 'path="/x\\n\\"forged" status=404' in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "model: Field required"),
        (("--model", MODEL["model"], "--chat_format", "no"), "chat_format='no' is unknown"),
        (("--model", MODEL["model"], "--chat_template", "no.jinja"), "cannot be read"),
        (("--model", MODEL["model"], "--n_threads", "0"), "n_threads=0 must be"),
        (("--model", MODEL["model"], "--type_k", "q"), "'q' is no type"),
        (("--model", MODEL["model"], "--draft_model", "mtp"), "multi-token prediction"),
        (("--model", "none.gguf", "--api_key_file", "none"), "api_key_file=none cannot be read"),
        (("--model", "none.gguf", "--ssl_keyfile", "none"), "ssl_keyfile=none: there is no"),
        (("--model", "none.gguf", "--ssl_keyfile", __file__), "ssl_certfile is missing"),
        (("--model", "none.gguf", "--n_ctx", "-1"), "n_ctx: Input should be greater"),
        (("--model", "none.gguf", "--host", "0.0.0.0"), "lets other machines in"),
        (("--model", "none.gguf", "--api_key", ","), "there is no key"),
        (("--config_file", "none.json"), "cannot be read"),
        (("--model", "none.gguf"), "none.gguf"),
    ],
)
def test_wrong_settings_are_told(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as own:  # the loop of a browser may run in this thread
        assert own.submit(cli.main, flags).result() in (1, 2)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m llama_cpp.server: error: ")
    assert message in last


def test_wrong_flags_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (
        ["--no_such_flag", "1"],
        ["--n_par", "3"],
        ["--n_ctx", "many"],
        ["--use_mmap", "perhaps"],
    ):
        with pytest.raises(SystemExit):
            cli.main(flags)
        assert "error: " in capsys.readouterr().err


def test_overrides_are_read() -> None:
    assert overrides(["a=int:1", "b=float:0.5", "c=bool:true", "d=str:x:y"]) == {
        "a": 1, "b": 0.5, "c": True, "d": "x:y",
    }  # fmt: skip
    assert overrides(None) is None
    for wrong in ("a", "a=1", "a=int:x", "=int:1", "a=bool:maybe", "a=list:1"):
        with pytest.raises(InvalidArgumentError, match="key=type:value"):
            overrides([wrong])


RPC_SERVER = """
import ctypes, socket
from llama_cpp import llama_cpp as raw

raw.llama_backend_init()
device = raw.ggml_backend_dev_by_type(raw.GGML_BACKEND_DEVICE_TYPE_CPU)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
print(port, flush=True)
devices = (ctypes.c_void_p * 1)(device)
raw.ggml_backend_rpc_start_server(b"127.0.0.1:%d" % port, None, 1, 1, devices)
"""

USES_IT = """
import sys
from llama_cpp.server.loading import load
from llama_cpp.server.settings import ModelSettings

while True:  # until it listens
    try:
        settings = ModelSettings(model=sys.argv[1], rpc_servers=sys.argv[2], n_gpu_layers=-1)
        llama = load(settings)
        break
    except ValueError as error:
        assert "does not answer" in str(error)
print([device.device for device in llama.memory().devices if device.weights > 1 << 20])
print(llama("Q: What is the capital of France? A:", temperature=0)["choices"][0]["text"])
"""


def test_a_model_may_lie_on_an_rpc_server() -> None:
    serve = [sys.executable, "-c", RPC_SERVER]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as rpc_server:
        assert rpc_server.stdout is not None
        port = rpc_server.stdout.readline().strip()
        use = [sys.executable, "-c", USES_IT, MODEL["model"], f"127.0.0.1:{port}"]
        used = subprocess.run(use, capture_output=True, text=True, timeout=120, check=False)
        rpc_server.kill()
    assert used.returncode == 0, used.stderr
    assert "['RPC0']" in used.stdout and "Paris" in used.stdout


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "nowhere", "a:b", "127.0.0.1:99999999"])
def test_rpc_servers_that_do_not_answer_are_told(endpoint: str) -> None:
    with pytest.raises(InvalidArgumentError, match="does not answer"):
        add_rpc_servers(endpoint)


def test_others_need_a_key_or_a_flag() -> None:
    with pytest.raises(InvalidArgumentError, match="lets other machines in"):
        ServerSettings(host="0.0.0.0").check_safe()
    ServerSettings(host="0.0.0.0", api_key="k").check_safe()
    ServerSettings(host="0.0.0.0", allow_unauthenticated=True).check_safe()
    ServerSettings(host="::1").check_safe()
    with pytest.raises(InvalidArgumentError):
        create_app(Settings(model=MODEL["model"], host="10.0.0.1"))


def test_browsers_are_told_to_be_careful() -> None:
    with serving() as server:
        for path in ("/", "/v1/models", "/no-such-page"):
            headers = server.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "access-control-allow-origin" not in headers
        assert "frame-ancestors 'none'" in server.get("/").headers["content-security-policy"]
        # A page of another site whose name leads to this machine.
        for forged in ({}, {"X-Forwarded-For": "testclient"}):
            rebound = {"Host": "evil.example:8000", **forged}
            assert server.get("/v1/models", headers=rebound).status_code == 403
        for name in ("localhost:1", "LocalHost", "[::1]:5"):
            assert server.get("/v1/models", headers={"Host": name}).status_code == 200
        preflight = server.client.options(
            "/v1/models", headers={"Origin": "http://a", "Access-Control-Request-Method": "GET"}
        )
        assert "access-control-allow-origin" not in preflight.headers


def test_origins_may_be_let_in() -> None:
    with serving(cors_allow_origins=["https://app.example"], allowed_hosts=["my.host"]) as server:
        headers = {"Origin": "https://app.example", "Host": "my.host"}
        answer = server.get("/v1/models", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        other = server.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_requests_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "llama_cpp.server.access"),
        serving(access_log=True) as server,
    ):
        server.get("/health")
    assert 'method=GET path="/health" status=200' in caplog.text


def test_the_cap_on_tokens_counts() -> None:
    with serving(max_tokens_limit=5) as server:
        body = {"prompt": "Once", "max_tokens": 100, "ignore_eos": True}
        assert server.post("/v1/completions", body).json()["usage"]["completion_tokens"] == 5
        chat = {"messages": [{"role": "user", "content": "Tell me a story."}]}
        answer = server.post("/v1/chat/completions", chat).json()
        assert answer["usage"]["completion_tokens"] == 5


def test_what_a_proxy_strips_does_not_count() -> None:
    with serving(api_key="k", root_path="/llm") as server:
        for path in ("/health", "/", "/web/app.css"):
            assert server.get(path).status_code == 200
        assert server.get("/v1/models").status_code == 401
        body = server.post("/v1/messages", {}, headers={"x-api-key": "k"}).json()
        assert body["type"] == "error"


OWN_DEFAULTS = {"n_ctx": 2048, "n_parallel": 4}


def test_every_parameter_of_model_and_context_is_a_setting() -> None:
    for params in (ModelParams(), ContextParams()):
        for name, default in arguments_of(params).items():
            field = ModelSettings.model_fields[name]
            assert field.default == OWN_DEFAULTS.get(name, default), name
            assert field.description


def test_every_sampling_parameter_is_one_of_requests() -> None:
    assert set(Sampling.model_fields) >= NAMES
