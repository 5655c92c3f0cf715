"""The tiny models are what they promise: each kind of model, memory, vocabulary and adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest
import upstream_vocabs
from handles_kit import TOKENS, batch_of, decode, open_context
from isolated import RunPython
from zoo import MEMBERS, Zoo, write_gemma3, write_reranker

from llama_cpp import llama_cpp as raw
from llama_cpp.handles.adapter import ControlVector, LoraAdapter
from llama_cpp.handles.batch import Batch
from llama_cpp.handles.context import Context
from llama_cpp.handles.model import Model

Floats = npt.NDArray[np.float32]

COMPANIONS = ("lora", "control_vector", "image_mmproj", "audio_mmproj")
MODELS = tuple(name for name in MEMBERS if name not in COMPANIONS)
WIDTHS_WITHOUT_MEMORY = {"bert": 128, "classifier": 2, "reranker": 1}
DECODERS = tuple(name for name in MODELS if name not in (*WIDTHS_WITHOUT_MEMORY, "t5"))
WINDOW = 16

# The name that upstream has for the vocabulary, and the special tokens around a text.
WHOLE_VOCABULARIES = {
    "llama_whole_spm": ("llama-spm", [1], []),
    "llama_whole_bpe": ("gpt-2", [], []),
    "llama_whole_wordpiece": ("bert-bge", [101], [102]),
}

WRITE_ALL = """
import pathlib, sys, zoo
folder = zoo.Zoo(pathlib.Path(sys.argv[1]))
for name in zoo.MEMBERS:
    getattr(folder, name)
"""


def same(found: Floats, expected: Floats) -> None:
    # Kernels add in another order for another batch shape, and f16 weights (the whole vocabularies)
    # make them round what they multiply by. Logits have a deviation of about 1.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02)


def path_of(zoo: Zoo, name: str) -> Path:
    path: Path = getattr(zoo, name)
    return path


def output_of(context: Context, tokens: Sequence[int]) -> Floats:
    """The logits after the last token, or what a model without memory makes of them all."""
    if not context.has_memory:
        context.encode(batch_of(tokens))
        return context.sequence_embedding()
    context.memory.clear()
    if context.model.has_encoder:
        context.encode(batch_of(tokens))
        return decode(context, [0])
    return decode(context, tokens)


# Files


@pytest.fixture(scope="module")
def second_folder(tmp_path_factory: pytest.TempPathFactory, run_python: RunPython) -> Path:
    """The members as another process writes them, whose hashes have another seed."""
    folder = tmp_path_factory.mktemp("second")
    run_python(WRITE_ALL, folder)
    return folder


@pytest.mark.parametrize("name", MEMBERS)
def test_members_are_small_and_the_same_each_time(zoo: Zoo, name: str, second_folder: Path) -> None:
    path = path_of(zoo, name)
    assert path == zoo.folder / f"{name}.gguf"
    assert path.stat().st_size < 6_000_000
    assert (second_folder / path.name).read_bytes() == path.read_bytes()


def test_a_member_is_written_once(tmp_path: Path) -> None:
    first = Zoo(tmp_path).lora
    written = first.stat()
    assert Zoo(tmp_path).lora == first
    assert first.stat().st_ino == written.st_ino
    assert first.stat().st_mtime_ns == written.st_mtime_ns
    assert list(tmp_path.iterdir()) == [first]


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    first, second = (write_gemma3(tmp_path / f"{seed}.gguf", seed=seed) for seed in (0, 1))
    assert first.stat().st_size == second.stat().st_size
    assert first.read_bytes() != second.read_bytes()


# Every model


@pytest.mark.parametrize("name", MODELS)
def test_what_the_engine_says_of_a_model(zoo: Zoo, name: str) -> None:
    model = Model(path_of(zoo, name))
    assert open_context(model).has_memory == (name not in WIDTHS_WITHOUT_MEMORY)
    assert model.has_encoder == (name == "t5")
    assert model.is_recurrent == (name == "mamba")
    assert model.is_hybrid == (name == "hybrid")
    assert model.call(raw.llama_model_n_swa) == (WINDOW if name == "sliding_window" else 0)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_finite_and_depend_on_every_token(zoo: Zoo, name: str) -> None:
    model = Model(path_of(zoo, name))
    context = open_context(model, embeddings=name in WIDTHS_WITHOUT_MEMORY)
    expected = output_of(context, TOKENS)
    assert expected.shape == (WIDTHS_WITHOUT_MEMORY.get(name, model.n_vocab),)
    assert np.isfinite(expected).all()
    assert len(expected) == 1 or np.ptp(expected) > 1e-3
    assert np.array_equal(output_of(context, TOKENS), expected)
    for place in range(len(TOKENS)):
        changed = [*TOKENS[:place], 77, *TOKENS[place + 1 :]]
        assert not np.allclose(output_of(context, changed), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", DECODERS)
def test_long_texts_decode_alike_in_any_pieces(zoo: Zoo, name: str) -> None:
    model = Model(path_of(zoo, name))
    tokens = range(50, 50 + 3 * WINDOW)
    expected = decode(open_context(model), tokens)
    same(decode(open_context(model, n_ubatch=5), tokens), expected)
    context = open_context(model)
    rows = [decode(context, [token], pos) for pos, token in enumerate(tokens)]
    same(rows[-1], expected)


@pytest.mark.parametrize("name", DECODERS)
def test_greedy_generation_varies_and_goes_on(zoo: Zoo, name: str) -> None:
    model = Model(path_of(zoo, name))
    context = open_context(model)
    prompt = model.vocab.tokenize("once upon a time the quick brown fox")
    generated = [int(decode(context, prompt).argmax())]
    for pos in range(len(prompt), len(prompt) + 30):
        generated.append(int(decode(context, generated[-1:], pos).argmax()))
    assert len(set(generated)) > 8
    assert not any(model.vocab.is_eog(token) for token in generated)


# Memory


@pytest.mark.parametrize("name", DECODERS)
def test_only_a_cache_can_go_back(zoo: Zoo, name: str) -> None:
    context = open_context(Model(path_of(zoo, name)))
    memory, has_state = context.memory, name in ("mamba", "hybrid")
    decode(context)
    expected = decode(context, (5, 6), 10)
    memory.clear()
    decode(context)
    # A state is that of the last position: nothing before it can be had again.
    assert (memory.seq_pos_min(0), memory.seq_pos_max(0)) == (9 if has_state else 0, 9)
    assert memory.seq_rm(0, 5, -1) == (not has_state)
    assert memory.seq_pos_max(0) == (9 if has_state else 4)
    if not has_state:
        decode(context, TOKENS[5:], 5)
    same(decode(context, (5, 6), 10), expected)
    assert memory.seq_rm(0)
    assert memory.seq_pos_max(0) == -1


@pytest.mark.parametrize("name", DECODERS)
def test_what_a_saved_sequence_consists_of(zoo: Zoo, name: str) -> None:
    context = open_context(Model(path_of(zoo, name)))

    def sizes() -> list[int]:
        # In part: without the cache that reaches back to the start, where there is another memory.
        flags = (0, raw.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)
        return [context.call(raw.llama_state_seq_get_size_ext, 0, flag) for flag in flags]

    decode(context, TOKENS[:5])
    whole, part = sizes()
    decode(context, TOKENS[5:], 5)
    later_whole, later_part = sizes()
    assert (later_whole > whole) == (name != "mamba")
    assert (later_part > part) == (name not in ("mamba", "hybrid"))
    assert (part < whole) == (name in ("hybrid", "sliding_window"))


@pytest.mark.parametrize("windowed", [(True,), (True, False)], ids=["windowed", "both"])
@pytest.mark.parametrize("swa_full", [False, True])
def test_a_window_hides_what_lies_before_it(
    tmp_path: Path, windowed: tuple[bool, ...], swa_full: bool
) -> None:
    model = Model(write_gemma3(tmp_path / "gemma.gguf", windowed=windowed))
    context = open_context(model, swa_full=swa_full)
    tokens = [*range(400, 440)]
    expected = output_of(context, tokens)
    for distance in (WINDOW - 1, WINDOW):
        place = len(tokens) - 1 - distance
        found = output_of(context, [*tokens[:place], 77, *tokens[place + 1 :]])
        visible = distance < WINDOW or not all(windowed)
        assert np.allclose(found, expected, rtol=0, atol=1e-4) == (not visible)


def test_a_cache_of_the_window_only_forgets_the_start(zoo: Zoo) -> None:
    model = Model(zoo.sliding_window)
    rows, firsts = [], []
    for swa_full in (False, True):
        context = open_context(model, n_ctx=512, n_ubatch=32, swa_full=swa_full)
        for pos in range(0, 416, 32):
            row = decode(context, range(100 + pos // 2, 132 + pos // 2), pos)
        rows.append(row)
        firsts.append(context.memory.seq_pos_min(0))
        assert context.memory.seq_pos_max(0) == 415
        assert context.memory.can_shift == swa_full
    assert firsts[1] == 0 < firsts[0] <= 416 - WINDOW
    same(rows[0], rows[1])


# Vocabularies


@pytest.mark.parametrize("name", WHOLE_VOCABULARIES)
def test_whole_vocabularies_give_upstreams_ids(zoo: Zoo, name: str) -> None:
    upstream, before, after = WHOLE_VOCABULARIES[name]
    params = Model.default_params()
    params.vocab_only = True
    original = Model(upstream_vocabs.vocab_file(upstream), params).vocab
    vocab = Model(path_of(zoo, name)).vocab
    assert (vocab.type, vocab.n_tokens) == (original.type, original.n_tokens)
    texts, expected = upstream_vocabs.read_texts(upstream), upstream_vocabs.read_ids(upstream)
    assert len(texts) > 40
    for text, ids in zip(texts, expected, strict=True):
        assert vocab.tokenize(text, add_special=False) == ids
        assert vocab.tokenize(text) == [*before, *ids, *after]
        assert vocab.detokenize(ids) == original.detokenize(ids)


def test_small_vocabularies_split_english_into_few_tokens(zoo: Zoo) -> None:
    for name in ("llama", "llama_bpe", "mamba", "hybrid", "sliding_window", "t5", "bert"):
        vocab = Model(path_of(zoo, name)).vocab
        tokens = vocab.tokenize("what is the first of all people", add_special=False)
        assert 7 <= len(tokens) <= 14
        assert vocab.detokenize(tokens).strip() == b"what is the first of all people"


# Scores


def pair_of(model: Model, question: str, document: str) -> list[int]:
    """The tokens of a pair, as the vocabulary wants them: format_prompt_rerank of the server."""
    vocab = model.vocab
    end = [vocab.eos] if vocab.add_eos else []
    tokens = [vocab.bos] if vocab.add_bos else []
    tokens += [*vocab.tokenize(question, add_special=False), *end]
    tokens += [vocab.sep] if vocab.call(raw.llama_vocab_get_add_sep) else []
    return [*tokens, *vocab.tokenize(document, add_special=False), *end]


def test_a_reranker_gives_one_score_per_sequence(zoo: Zoo) -> None:
    model = Model(zoo.reranker)
    assert model.n_cls_out == 1
    assert model.call(raw.llama_model_cls_label, 0) is None
    context = open_context(model, embeddings=True, n_seq_max=4)
    assert context.pooling_type == raw.LLAMA_POOLING_TYPE_RANK
    batch, alone = Batch(200), []
    pairs = [("who", "people"), ("who", "water"), ("what", "people"), ("people", "who")]
    for seq_id, (question, document) in enumerate(pairs):
        tokens = pair_of(model, question, document)
        alone.append(output_of(context, tokens))
        batch.add_sequence(tokens, 0, seq_id)
    context.encode(batch)
    together = [context.sequence_embedding(seq_id) for seq_id in range(len(pairs))]
    same(np.stack(together), np.stack(alone))
    assert np.stack(alone).shape == (4, 1)
    assert np.diff(np.sort(np.ravel(alone))).min() > 0.005


def test_pairs_of_a_reranker(zoo: Zoo, tmp_path: Path) -> None:
    doubled = Model(write_reranker(tmp_path / "doubled.gguf", add_sep=True))
    for model, separators in ((Model(zoo.reranker), 1), (doubled, 2)):
        vocab = model.vocab
        assert [vocab.text(vocab.bos), vocab.text(vocab.sep)] == [b"[CLS]", b"[SEP]"]
        question, document = (vocab.tokenize(text, add_special=False) for text in ("who", "water"))
        expected = [vocab.bos, *question, *[vocab.sep] * separators, *document, vocab.sep]
        assert pair_of(model, "who", "water") == expected


def test_labels_of_a_classifier(zoo: Zoo) -> None:
    model = Model(zoo.classifier)
    labels = [model.call(raw.llama_model_cls_label, label) for label in range(model.n_cls_out)]
    assert labels == [b"negative", b"positive"]


# Adapters


def read_control_vector(path: Path) -> ControlVector:
    """What common_control_vector_load of llama.cpp does."""
    directions = {
        int(tensor.name.removeprefix("direction.")): np.array(tensor.data)
        for tensor in gguf.GGUFReader(path).tensors
    }
    rows = np.zeros((max(directions), len(directions[1])), np.float32)
    for layer, direction in directions.items():
        rows[layer - 1] = direction
    return ControlVector(rows)


def test_adapters_change_the_logits_and_give_them_back(zoo: Zoo, model: Model) -> None:
    context = open_context(model)
    lora, vector = LoraAdapter(model, zoo.lora), read_control_vector(zoo.control_vector)
    assert vector.data.shape == (1, 256)
    found: list[Floats] = []
    for scale, direction in ((0, None), (1, None), (0, vector), (1, vector), (0, None)):
        context.set_adapters([(lora, scale)] if scale else [])
        context.set_control_vector(direction)
        found.append(output_of(context, TOKENS))
    assert np.array_equal(found[-1], found[0])
    for first in range(4):
        for second in range(first):
            assert np.abs(found[first] - found[second]).max() > 0.1
