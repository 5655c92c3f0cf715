"""What stands where in a GGUF file, and how large its tensors are."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SCALAR_FORMATS", "TENSOR_TYPES", "Layout", "Pair", "TensorEntry", "TensorType"]


class TensorType(NamedTuple):
    """A type of tensors.

    Attributes:
        name: As in ``GGML_TYPE_*``.
        block_elements: Elements in a block.
        block_bytes: Bytes in a block.
    """

    name: str
    block_elements: int
    block_bytes: int


# By id, from enum ggml_type in ggml/include/ggml.h and type_traits in ggml/src/ggml.c of the pinned
# llama.cpp. The missing ids were removed there.
TENSOR_TYPES = {
    type_id: TensorType(name, elements, size)
    for type_id, name, elements, size in (
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (9, "Q8_1", 32, 36),
        (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66),
        (17, "IQ2_XS", 256, 74),
        (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18),
        (21, "IQ3_S", 256, 110),
        (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1),
        (25, "I16", 1, 2),
        (26, "I32", 1, 4),
        (27, "I64", 1, 8),
        (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56),
        (30, "BF16", 1, 2),
        (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17),
        (40, "NVFP4", 64, 36),
        (41, "Q1_0", 128, 18),
        (42, "Q2_0", 64, 18),
    )
}
# By the number of the kind in GGUF, as the struct module writes them.
SCALAR_FORMATS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip


class Pair(NamedTuple):
    """A metadata pair in the file.

    Attributes:
        key: Its key.
        kind: The type of its value, by its number in GGUF.
        start: Where the pair starts.
        value: Where the value starts.
        stop: Where the pair stops.
    """

    key: bytes
    kind: int
    start: int
    value: int
    stop: int


class TensorEntry(NamedTuple):
    """A tensor in the file.

    Attributes:
        name: Its name.
        shape: The lengths of its dimensions, that of a row first.
        type_id: Its type, a key of ``TENSOR_TYPES``.
        n_bytes: Its size.
        offset: Where its data starts, counted from where the data of all starts.
        start: Where its entry in the header starts.
        stop: Where that stops.
    """

    name: bytes
    shape: tuple[int, ...]
    type_id: int
    n_bytes: int
    offset: int
    start: int
    stop: int


class Layout(NamedTuple):
    """What stands where.

    Attributes:
        pairs: The metadata pairs.
        tensors: The tensors.
        data_start: Where the data of the tensors starts.
        size: The bytes of the file.
    """

    pairs: tuple[Pair, ...]
    tensors: tuple[TensorEntry, ...]
    data_start: int
    size: int
