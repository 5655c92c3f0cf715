"""``quantize``: a smaller file of the same model."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .. import llama_cpp as raw
from ..errors import InvalidArgumentError, ModelLoadError, QuantizeError
from ..native.threads import usable_cores
from ..validation import native_arguments as checks
from ..validation.numbers import integer, plain
from . import files as gguf
from . import quantizer
from .imatrix import Imatrix, open_imatrix
from .kv_overrides import override_array
from .layout import TENSOR_TYPES
from .output_file import Path, check_targets, path_text, staged
from .progress import progress_callback

__all__ = ["QuantizeResult", "ftypes", "quantize"]

_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
_COPY = "COPY"
_CANNOT_BE_MADE = ("NVFP4", "GUESSED")  # the engine reads it; stands for none
_NO_TARGETS = ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64")  # nothing is quantized to these
# The engine aborts without, or says that the result would be garbage.
_LOW_BITS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
_ABORTS_WITHOUT_IMATRIX = ("IQ1_S", "IQ2_XXS", "IQ2_XS")
_OUTPUT = ("output.weight",)
_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
_FLOATS = ("F32", "F16", "BF16", "F64")
_ENGINE_ALIGNMENT = 32
_RESERVED = ("general.alignment", "split.no", "split.count", "split.tensors.count")
_TEXTS = ("general.architecture", "general.type")
_PATTERN_MAX = 1000
_METADATA_ROOM = 1 << 16
_LAYER = re.compile(r"blk\.(\d+)\.")


class QuantizeResult(NamedTuple):
    """What ``quantize`` made.

    Attributes:
        paths: The file, or those of a split model; none after a dry run.
        source_bytes: The size of the tensors that were read.
        n_bytes: The size of those that were written, or would be.
        n_params: The elements of these.
        types: How many of these have which type.
    """

    paths: tuple[str, ...]
    source_bytes: int
    n_bytes: int
    n_params: int
    types: dict[str, int]

    @property
    def bits_per_weight(self) -> float:
        """How many bits a weight takes."""
        return 8 * self.n_bytes / self.n_params


@functools.cache
def ftypes() -> dict[str, int]:
    """Return the names that ``quantize`` knows, with the number ``LLAMA_FTYPE_*`` of each."""
    found = {
        name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_"): value
        for name in dir(raw)
        if name.startswith("LLAMA_FTYPE_") and isinstance(value := getattr(raw, name), int)
    }
    known = {name: value for name, value in found.items() if name not in _CANNOT_BE_MADE}
    return {**known, **{name: known[meaning] for name, meaning in _ALIASES.items()}}


def quantize(
    src: Path,
    dst: Path,
    ftype: str | int,
    *,
    nthread: int | None = None,
    output_tensor_type: str | int | None = None,
    token_embedding_type: str | int | None = None,
    allow_requantize: bool = False,
    quantize_output_tensor: bool = True,
    only_copy: bool = False,
    pure: bool = False,
    keep_split: bool = False,
    dry_run: bool = False,
    imatrix: Path | Mapping[str, Any] | None = None,
    kv_overrides: Mapping[str, bool | int | float | str] | None = None,
    tensor_types: Mapping[str, str | int] | None = None,
    prune_layers: Iterable[int] = (),
    max_buf_size: int = 0,
    overwrite: bool = False,
    progress: bool | Callable[[float], bool | None] = False,
) -> QuantizeResult:
    """Write a model with smaller weights.

    The new file appears when it is complete. Whatever ends this earlier, a full disk or Ctrl-C,
    nothing is left behind. Ctrl-C is heard when the next tensor begins.

    Args:
        src: The model, best with F32, F16 or BF16 weights; of a split model, its first file.
        dst: The file to write.
        ftype: The kind of the result, such as ``"Q4_K_M"``, or ``LLAMA_FTYPE_*``. ``"COPY"`` is
            ``only_copy``.
        nthread: How many threads work, but no more than there are processors; as many as this
            process may use cores by default.
        output_tensor_type: The type of the output tensor, such as ``"Q8_0"``, or ``GGML_TYPE_*``.
        token_embedding_type: That of the token embeddings.
        allow_requantize: Whether to quantize what is quantized already, which loses a lot.
        quantize_output_tensor: Whether to quantize the output tensor.
        only_copy: Write the tensors as they are, with new metadata or in one file.
        pure: Quantize all tensors to the same type, rather than some of them to better ones.
        keep_split: Write as many files as the model has. ``dst`` is what their names begin with.
        dry_run: Only find out what would be written.
        imatrix: An importance matrix: a file by llama.cpp's ``llama-imatrix``, or a number for each
            column of a tensor by its name. The smallest types need one.
        kv_overrides: Metadata to change in the new model.
        tensor_types: Types of the tensors whose names match a regular expression (that of C++).
            The first match counts, and only ftypes that quantize.
        prune_layers: Layers to leave out.
        max_buf_size: How many bytes of a tensor are in memory at once; 0 for the engine's 8 GiB.
        overwrite: Whether a file at ``dst`` is replaced.
        progress: Is told the fraction that is done, 0 to 1, and returns False to stop; True shows a
            bar on a terminal.

    Returns:
        What was written.

    Raises:
        InvalidArgumentError: An option is none, or does not fit the model.
        ModelLoadError: One of its subclasses says what is wrong with ``src``.
        QuantizeError: The model cannot be quantized like that, or the file not be written.
        TextError: A path is none.
    """
    source, target = path_text(src, "src"), path_text(dst, "dst")
    params = quantizer.default_params()
    params.nthread = usable_cores()
    if nthread is not None:
        # The process would die if the system refused a thread.
        most = os.cpu_count() or 1
        params.nthread = min(integer("nthread", nthread, 1, raw.GGML_MAX_N_THREADS), most)
    only_copy = bool(only_copy) or (isinstance(ftype, str) and ftype.upper() == _COPY)
    params.ftype = raw.LLAMA_FTYPE_ALL_F32 if only_copy else _ftype(ftype)
    params.only_copy = only_copy
    params.allow_requantize = bool(allow_requantize)
    params.quantize_output_tensor = bool(quantize_output_tensor)
    params.pure = bool(pure)
    params.max_buf_size = integer("max_buf_size", max_buf_size, 0, 2**63 - 1)
    matrix = None if imatrix is None else open_imatrix(imatrix)
    model = gguf.read(source)
    _check_source(model)
    for name, value, tensors in (
        ("output_tensor_type", output_tensor_type, _OUTPUT),
        ("token_embedding_type", token_embedding_type, _EMBEDDINGS),
    ):
        if value is not None:
            setattr(params, name, _tensor_type(name, value))
            _check_rows(name, getattr(params, name), tensors, model)
    overrides = _overrides(kv_overrides or {}, model)
    pruned = _pruned(prune_layers, {**model.metadata, **overrides}, model.architecture)
    # What the struct points to, kept alive until the end.
    buffers: list[Any] = []
    _point(params, buffers, matrix, overrides, tensor_types, pruned)
    params.keep_split = bool(keep_split) and len(model.paths) > 1
    if params.keep_split:
        _check_shards(model, pruned)

    plan = quantizer.make_plan(os.fsencode(source), params)
    _check_plan(plan, matrix, pruned, params)
    result = QuantizeResult(
        paths=(),
        source_bytes=model.tensor_bytes,
        n_bytes=sum(tensor.n_bytes for tensor in plan.tensors),
        n_params=sum(_elements(tensor.shape) for tensor in plan.tensors),
        types=_counted(tensor.new for tensor in plan.tensors),
    )
    if dry_run:
        return result
    targets = [target]
    prefix = target.removesuffix(".gguf")
    if params.keep_split:
        count = len(model.paths)
        targets = [gguf.shard_name(prefix, index, count) for index in range(count)]
    padding = _ENGINE_ALIGNMENT * len(plan.tensors)
    needed = result.n_bytes + padding + model.file_bytes - model.tensor_bytes + _METADATA_ROOM
    check_targets(targets, model.paths, needed, overwrite=overwrite)
    report = progress_callback(progress, "quantizing")
    with staged(targets) as drafts:
        written_to = drafts[0]
        if params.keep_split:
            written_to = os.path.join(os.path.dirname(drafts[0]), os.path.basename(prefix))
        quantizer.run(os.fsencode(source), os.fsencode(written_to), params, report)
        _check_result(drafts[0], plan)
    return result._replace(paths=tuple(targets))


def _ftype(ftype: object) -> int:
    known = ftypes()
    if isinstance(ftype, str) and ftype.upper() in known:
        return known[ftype.upper()]
    own = plain(ftype)
    if isinstance(own, int) and not isinstance(own, bool) and own in known.values():
        return own
    names = ", ".join(sorted([*known, _COPY]))
    raise InvalidArgumentError(f"ftype={ftype!r} is not known. Those known are {names}.")


def _tensor_type(what: str, value: object) -> int:
    ids = {name: number for name, number in quantizer.TYPE_IDS.items() if name not in _NO_TARGETS}
    if isinstance(value, str) and value.upper() in ids:
        return ids[value.upper()]
    own = plain(value)
    if isinstance(own, int) and not isinstance(own, bool) and own in ids.values():
        return own
    raise InvalidArgumentError(f"{what}={value!r} is not known. Those known are {', '.join(ids)}.")


def _check_source(model: gguf.GGUFFile) -> None:
    if not model.tensors:
        raise QuantizeError(f"{model.paths[0]!r} has only a vocabulary: nothing to quantize")
    for tensor in model.tensors:
        if not _elements(tensor.shape):
            raise ModelLoadError(f"{tensor.path!r} is damaged: {tensor.name!r} has no elements")


def _check_rows(what: str, type_id: int, names: tuple[str, ...], model: gguf.GGUFFile) -> None:
    """Refuse what the engine asserts on: it takes these types as they are."""
    for tensor in model.tensors:
        block = TENSOR_TYPES[type_id].block_elements
        if tensor.name in names and tensor.shape[0] % block:
            raise InvalidArgumentError(
                f"{what}: {tensor.name!r} has rows of {tensor.shape[0]} elements, but blocks of "
                f"{TENSOR_TYPES[type_id].name} have {block}. Choose another type."
            )


def _overrides(
    overrides: Mapping[str, bool | int | float | str], model: gguf.GGUFFile
) -> dict[str, bool | int | float | str]:
    override_array(overrides)  # checks the keys and the kinds of the values
    for key, value in overrides.items():
        if key in _RESERVED:
            raise InvalidArgumentError(f"kv_overrides: {key!r} cannot be changed")
        value = plain(value)
        if key in _TEXTS and not isinstance(value, str):
            raise InvalidArgumentError(f"kv_overrides: {key!r} must be a text, not {value!r}")
        if isinstance(value, int) and not isinstance(value, bool):
            integer(f"kv_overrides[{key!r}]", value, 0, 2**32 - 1)  # written as 32 bits
        if isinstance(value, float):
            checks.in_range(
                f"kv_overrides[{key!r}]", value, -checks.FLOAT32_MAX, checks.FLOAT32_MAX
            )
    merged = {**model.metadata, **overrides}
    architecture = merged.get("general.architecture")
    checks.model_metadata(merged, architecture if isinstance(architecture, str) else None)
    # The engine aligns to this, whatever the metadata that it copies says.
    aligned = {} if model.alignment == _ENGINE_ALIGNMENT else {_RESERVED[0]: _ENGINE_ALIGNMENT}
    return {**overrides, **aligned}


def _pruned(layers: Iterable[int], metadata: Mapping[str, Any], arch: str | None) -> list[int]:
    if isinstance(layers, str | bytes) or not isinstance(layers, Iterable):
        raise InvalidArgumentError(f"prune_layers={layers!r} must be numbers of layers")
    count = metadata.get(f"{arch}.block_count", 0)
    pruned = sorted({integer("prune_layers", layer, 0, max(count - 1, 0)) for layer in layers})
    if pruned and len(pruned) >= count:
        raise InvalidArgumentError(f"prune_layers: all {count} layers would be left out")
    for key, value in metadata.items():
        if (
            pruned
            and key.startswith(f"{arch}.")
            and isinstance(value, list)
            and len(value) == count
        ):
            raise QuantizeError(
                f"layers cannot be left out: {key} has a value for each, which stay"
            )
    return pruned


def _point(
    params: raw.llama_model_quantize_params,
    buffers: list[Any],
    matrix: Imatrix | None,
    overrides: Mapping[str, bool | int | float | str],
    tensor_types: Mapping[str, str | int] | None,
    pruned: list[int],
) -> None:
    if matrix is not None:
        entries = (raw.llama_model_imatrix_data * (len(matrix.entries) + 1))()
        for entry, (name, values) in zip(entries, matrix.entries.items(), strict=False):
            entry.name = checks.c_string(name, "name in the imatrix")
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = values.size
        params.imatrix = entries
        notes = {k: v if isinstance(v, int) else _cut(v) for k, v in matrix.notes.items()}
        overrides = {**notes, **overrides}
        buffers += (entries, matrix)
    if overrides:
        pairs = override_array(overrides)
        params.kv_overrides = pairs
        buffers.append(pairs)
    if tensor_types:
        if not isinstance(tensor_types, Mapping):
            raise InvalidArgumentError("tensor_types must map regular expressions to types")
        patterns = (raw.llama_model_tensor_override * (len(tensor_types) + 1))()
        for pattern, (text, value) in zip(patterns, tensor_types.items(), strict=False):
            pattern.pattern = checks.c_string(text, "pattern in tensor_types")
            if not 0 < len(pattern.pattern) <= _PATTERN_MAX:
                raise InvalidArgumentError(f"tensor_types: {text[:80]!r} is empty or too long")
            pattern.type = _tensor_type(f"tensor_types[{text!r}]", value)
        params.tt_overrides = patterns
        buffers.append(patterns)
    if pruned:
        layers = (ctypes.c_int32 * (len(pruned) + 1))(*pruned, -1)
        params.prune_layers = layers
        buffers.append(layers)


def _cut(text: str) -> str:
    """As much of a text as an override can hold."""
    return text.encode(errors="replace")[:127].decode(errors="ignore").partition("\0")[0]


def _check_shards(model: gguf.GGUFFile, pruned: list[int]) -> None:
    """Refuse files that would be empty, which the engine does not expect."""
    full = {t.path for t in model.tensors if _layer(t.name) not in pruned}
    for path in model.paths[1:]:
        if path not in full:
            raise QuantizeError(f"keep_split: nothing of {path!r} would be left. Leave it out.")


def _check_plan(
    plan: quantizer.Plan,
    matrix: Imatrix | None,
    pruned: list[int],
    params: raw.llama_model_quantize_params,
) -> None:
    if plan.needs_imatrix and matrix is None:
        raise QuantizeError("types that small need an importance matrix: pass imatrix=")
    entries = {} if matrix is None else matrix.entries
    found = False
    for tensor in plan.tensors:
        values = entries.get(_old_name(tensor.name, pruned))
        found = found or values is not None
        if tensor.old == tensor.new:
            continue
        name, is_end = tensor.name, tensor.name in _OUTPUT + _EMBEDDINGS
        if tensor.old not in _FLOATS and not params.allow_requantize:
            raise QuantizeError(
                f"{name!r} is quantized already, as {tensor.old}: start from a model with F16 "
                "weights, or pass allow_requantize=True and lose quality"
            )
        if tensor.shape[3] > 1:
            raise QuantizeError(f"{name!r} has four dimensions, which cannot be quantized")
        if values is not None and values.size != tensor.shape[0] * tensor.shape[2]:
            if name not in _EMBEDDINGS:
                raise InvalidArgumentError(
                    f"imatrix[{name!r}] has {values.size} values, but the tensor has "
                    f"{tensor.shape[0]} columns in each of {tensor.shape[2]}: it is of another "
                    "model"
                )
            values = None
        if values is None and tensor.new in (_ABORTS_WITHOUT_IMATRIX if is_end else _LOW_BITS):
            raise QuantizeError(
                f"{name!r} needs values in an importance matrix to become {tensor.new}: choose a "
                "larger type for it, or another ftype"
            )
    if entries and not found:
        raise InvalidArgumentError("imatrix has no entry for any tensor: it is of another model")


def _old_name(name: str, pruned: list[int]) -> str:
    layer = _layer(name)
    if layer is None:
        return name
    for gone in pruned:
        layer += gone <= layer
    return _LAYER.sub(f"blk.{layer}.", name, count=1)


def _layer(name: str) -> int | None:
    match = _LAYER.search(name)
    return int(match[1]) if match else None


def _check_result(path: str, plan: quantizer.Plan) -> None:
    """The engine takes a full disk for no error."""
    try:
        written = gguf.read(path)
    except ModelLoadError as damage:
        raise QuantizeError(
            "the file could not be written completely: the disk is full, or files may not be that "
            f"large: {damage}"
        ) from damage
    if [t.n_bytes for t in written.tensors] != [t.n_bytes for t in plan.tensors]:
        raise QuantizeError("the engine wrote other tensors than it planned")


def _elements(shape: Iterable[int]) -> int:
    return functools.reduce(lambda one, other: one * other, shape, 1)


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
