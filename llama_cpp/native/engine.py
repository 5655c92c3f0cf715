"""libllama: loaded once, checked, and connected to ``logging``."""

from __future__ import annotations

import functools
from typing import Any

from . import canary, library, logs
from .bind import Library, converts
from .generated import backends, ggml
from .generated.llama import SIGNATURES, llama_model_p, llama_vocab_p
from .library import exported_by


@functools.cache
def libllama() -> Library:
    """Return libllama, after making sure that the bindings fit it.

    Whoever uses any library of the engine comes here first: they are built together.

    Raises:
        LibraryError: It is missing, cannot be loaded, or is of another llama.cpp version.
    """
    llama = library.load("llama", SIGNATURES)
    canary.check(llama)
    logs.install()
    converts(llama_model_p, llama_vocab_p, llama.bind("llama_model_get_vocab"))
    llama.bind("llama_supports_gpu_offload").errcheck = _has_gpu
    return llama


# Those that a build lacks are passed over.
GGML_LIBRARIES = ("ggml-base", "ggml", "ggml-cpu", "ggml-rpc", "ggml-blas", "ggml-cann",
                   "ggml-cuda", "ggml-et", "ggml-hexagon", "ggml-hip", "ggml-metal", "ggml-musa",
                   "ggml-opencl", "ggml-sycl", "ggml-virtgpu", "ggml-vulkan", "ggml-webgpu",
                   "ggml-zdnn", "ggml-zendnn")  # fmt: skip
GGML_SIGNATURES = {**ggml.SIGNATURES, **backends.SIGNATURES}


def ggml_function(name: str) -> Any:
    """The function ``name`` of the first ggml library that has it, or a stub that raises."""
    return exported_by(GGML_LIBRARIES, name, GGML_SIGNATURES)


def _has_gpu(result: bool, function: Any, arguments: Any) -> bool:
    # llama.cpp says yes of every build that has the RPC backend, before any server was added;
    # packages ask in order to find out whether there is a GPU. A server that was added counts.
    by_type = ggml_function("ggml_backend_dev_by_type")
    kinds = (ggml.GGML_BACKEND_DEVICE_TYPE_GPU, ggml.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return any(by_type(kind) for kind in kinds)
