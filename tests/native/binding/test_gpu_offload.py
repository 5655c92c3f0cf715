"""``llama_supports_gpu_offload`` says whether there is a device to put layers on."""

from __future__ import annotations

from isolated import RunPython

import llama_cpp
from llama_cpp.native.bind import Function

REMOTE = """
import ctypes, os, socket, threading, time
import llama_cpp as raw

devices = (ctypes.c_void_p * 1)(raw.ggml_backend_dev_by_type(raw.GGML_BACKEND_DEVICE_TYPE_CPU))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
address = f"127.0.0.1:{port}".encode()
serve = threading.Thread(
    target=raw.ggml_backend_rpc_start_server, args=(address, None, 1, 1, devices), daemon=True
)
serve.start()
while True:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except OSError:
        time.sleep(0.01)
raw.ggml_backend_register(raw.ggml_backend_rpc_add_server(address))
assert raw.llama_supports_gpu_offload() is True
os._exit(0)  # the server does not return
"""


def test_the_rpc_backend_alone_is_no_device() -> None:
    assert llama_cpp.llama_supports_rpc()
    kinds = (llama_cpp.GGML_BACKEND_DEVICE_TYPE_GPU, llama_cpp.GGML_BACKEND_DEVICE_TYPE_IGPU)
    gpus = [kind for kind in kinds if llama_cpp.ggml_backend_dev_by_type(kind)]
    assert llama_cpp.llama_supports_gpu_offload() is bool(gpus)
    assert isinstance(llama_cpp.llama_supports_gpu_offload, Function)


def test_a_server_that_was_added_is(run_python: RunPython) -> None:
    run_python(REMOTE)
