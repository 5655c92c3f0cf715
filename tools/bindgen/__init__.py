"""Generate the ctypes bindings of llama.cpp from its own headers: ``python -m tools.bindgen``.

One parsed form of the headers (:mod:`~tools.bindgen.model`) becomes three things which therefore
cannot disagree: the runtime modules and stubs in ``llama_cpp/native/generated``, a C program that
prints how a compiler lays the structs out, and the layout that libclang computes for them.

What the headers do not say, such as which arguments may be NULL, is in ``policy.toml``.
"""
