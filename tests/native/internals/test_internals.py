"""Models, batches, contexts and lifetimes in ``llama_cpp._internals``."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from internals_kit import (
    ANSWER,
    batch_of,
    chain,
    load,
    new_context,
)

import llama_cpp
from llama_cpp import errors
from llama_cpp._internals import (
    LlamaBatch,
    LlamaContext,
    LlamaGrammar,
    LlamaModel,
    LlamaTokenDataArray,
    normalize_embedding,
    suppress_stdout_stderr,
)

VOCABS = Path(__file__).parents[3] / "vendor" / "llama.cpp" / "models"


@pytest.fixture(scope="session")
def files(tiny_llama: Path, tiny_bert: Path, tiny_mamba: Path, tiny_t5: Path) -> dict[str, Path]:
    return {"llama": tiny_llama, "bert": tiny_bert, "mamba": tiny_mamba, "t5": tiny_t5}


# LlamaModel


def test_the_model_tells_what_it_is(model: LlamaModel) -> None:
    assert isinstance(model.model, llama_cpp.llama_model_p)
    assert llama_cpp.llama_model_get_vocab(model.model) == model.vocab
    assert model.vocab_type() == llama_cpp.LLAMA_VOCAB_TYPE_SPM
    assert model.n_vocab() == 684
    assert (model.n_ctx_train(), model.n_embd()) == (512, 256)
    assert model.rope_freq_scale_train() == 1.0
    assert "llama" in model.desc()
    assert model.size() == 4 * model.n_params()
    metadata = model.metadata()
    assert metadata["general.architecture"] == "llama"
    metadata.clear()
    assert model.metadata()


def test_special_tokens(model: LlamaModel) -> None:
    assert (model.token_bos(), model.token_eos(), model.token_cls()) == (1, 2, 1)
    names = ("eot", "prefix", "suffix", "middle")
    texts = [model.token_get_text(getattr(model, f"token_{name}")()) for name in names]
    assert texts == ["<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    assert model.token_sep() == -1
    assert model.token_to_piece(model.token_nl()) == b"\n"
    assert (model.add_bos_token(), model.add_eos_token()) == (True, False)
    assert model.token_get_score(1) == 0.0
    assert model.token_get_attr(1) & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL


def test_text_goes_to_tokens_and_back(model: LlamaModel) -> None:
    tokens = model.tokenize(b"Hello world", add_bos=True, special=False)
    assert tokens[0] == 1
    assert model.detokenize(tokens) == b"Hello world"
    assert model.detokenize(tokens[1:]) == b" Hello world"
    assert model.detokenize(np.array(tokens), special=True) == b"<s> Hello world"
    assert b"".join(model.detokenize([token]) for token in tokens) == b" Hello world"
    assert model.token_to_piece(1) == b""
    assert model.token_to_piece(1, special=True) == b"<s>"
    assert model.detokenize([]) == b""
    assert model.tokenize(b"<|im_end|>", False, True) == [model.token_eot()]
    assert len(model.tokenize(b"<|im_end|>", False, False)) > 1
    for bad in ([-1], [684], ["a"]):
        with pytest.raises(errors.TokenError):
            model.detokenize(bad)  # type: ignore[arg-type]


def test_a_space_that_no_tokenizer_added_stays() -> None:
    model = load(VOCABS / "ggml-vocab-llama-bpe.gguf", vocab_only=True)
    tokens = model.tokenize(b" Hello", add_bos=True, special=False)
    assert tokens[0] == model.token_bos()
    assert model.detokenize(tokens) == b" Hello"


def test_every_token_has_its_piece(model: LlamaModel) -> None:
    pieces = [model.detokenize([token], special=True) for token in range(model.n_vocab())]
    assert pieces == [model.token_to_piece(t, special=True) for t in range(model.n_vocab())]
    assert b"" not in pieces


def test_a_tensor_cannot_be_had(model: LlamaModel) -> None:
    with pytest.raises(errors.LlamaError, match="gguf"):
        model.get_tensor("output.weight")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="nowhere") as caught:
        load(tmp_path / "nowhere.gguf")
    assert isinstance(caught.value, ValueError)


# LlamaBatch and LlamaContext


def test_a_batch_is_the_struct_that_it_shows() -> None:
    batch = LlamaBatch(n_tokens=5, embd=0, n_seq_max=2)
    batch.add_sequence([7, 8], 1, logits_all=False)
    batch.add_sequence([9, 10], 0, logits_all=True)
    struct = batch.batch
    assert batch.n_tokens() == struct.n_tokens == 4
    assert struct.token[:4] == [7, 8, 9, 10]
    assert struct.pos[:4] == [0, 1, 0, 1]
    assert [struct.seq_id[i][0] for i in range(4)] == [1, 1, 0, 0]
    assert struct.logits[:4] == [0, 1, 1, 1]
    batch.set_batch([3], 6, logits_all=False)
    assert (struct.n_tokens, struct.pos[0], struct.logits[0]) == (1, 6, 1)
    batch.reset()
    assert batch.n_tokens() == 0
    with pytest.raises(errors.BatchError, match="fit"):
        batch.set_batch(range(6), 0, logits_all=False)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda struct: setattr(struct, "n_tokens", 3), errors.BatchError),
        (lambda struct: setattr(struct, "n_tokens", -1), errors.BatchError),
        (lambda struct: setattr(struct, "n_tokens", 0), errors.BatchError),
        (lambda struct: struct.n_seq_id.__setitem__(0, 0), errors.SequenceError),
        (lambda struct: struct.n_seq_id.__setitem__(0, 2), errors.SequenceError),
        (lambda struct: struct.seq_id[0].__setitem__(0, 7), errors.SequenceError),
        (lambda struct: struct.pos.__setitem__(0, -5), errors.SequenceError),
        (lambda struct: struct.token.__setitem__(1, 684), errors.TokenError),
    ],
)
def test_what_scripts_write_into_a_batch_is_checked(
    ctx: LlamaContext, write: Callable[[Any], None], error: type[Exception]
) -> None:
    ctx.kv_cache_clear()
    batch = batch_of([1, 5])
    write(batch.batch)
    with pytest.raises(error):
        ctx.decode(batch)


def test_decode_errors_are_runtime_errors(model: LlamaModel) -> None:
    small = new_context(model, n_ctx=256, n_batch=256)
    small.decode(batch_of([5] * 256))
    with pytest.raises(errors.NoKVSlotError) as caught:
        small.decode(batch_of([5], 256))
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(errors.BatchError, match="embd"):
        small.decode(embedding_batch(width=8))


def embedding_batch(width: int) -> LlamaBatch:
    batch = LlamaBatch(n_tokens=1, embd=width, n_seq_max=1)
    batch.handle.add_embeddings(np.ones((1, width)))
    return batch


def test_embeddings_go_in(model: LlamaModel) -> None:
    ctx = new_context(model)
    ctx.decode(embedding_batch(width=256))
    assert np.isfinite(ctx.get_logits_ith(0)[0])
    with pytest.raises(errors.BatchError):
        LlamaBatch(n_tokens=1, embd=8, n_seq_max=1).set_batch([1], 0, logits_all=False)


def test_logits_come_out(ctx: LlamaContext) -> None:
    ctx.kv_cache_clear()
    ctx.decode(batch_of([1, 5, 6], logits_all=True))
    rows = np.ctypeslib.as_array(ctx.get_logits(), (3, 684)).copy()
    for index in range(3):
        assert ctx.get_logits_ith(index)[:684] == rows[index].tolist()
    assert ctx.get_logits_ith(-1)[:684] == rows[2].tolist()
    with pytest.raises(errors.InvalidArgumentError, match="index 3"):
        ctx.get_logits_ith(3)
    for call in (ctx.get_embeddings, lambda: ctx.get_embeddings_ith(0)):
        with pytest.raises(errors.InvalidArgumentError):
            call()
    with pytest.raises(errors.InvalidArgumentError):
        ctx.get_embeddings_seq(0)


def test_embeddings_come_out(files: dict[str, Path]) -> None:
    bert = load(files["bert"])
    pooled = new_context(bert, embeddings=True)
    assert pooled.memory is None
    assert pooled.pooling_type() == llama_cpp.LLAMA_POOLING_TYPE_MEAN
    tokens = bert.tokenize(b"hello world", add_bos=True, special=False)
    pooled.encode(batch_of(tokens, logits_all=True))
    mean = np.ctypeslib.as_array(pooled.get_embeddings_seq(0), (128,)).copy()
    single = new_context(bert, embeddings=True, pooling_type=llama_cpp.LLAMA_POOLING_TYPE_NONE)
    single.encode(batch_of(tokens, logits_all=True))
    rows = np.ctypeslib.as_array(single.get_embeddings(), (len(tokens), 128)).copy()
    np.testing.assert_allclose(rows.mean(axis=0), mean, rtol=1e-4, atol=1e-5)
    assert single.get_embeddings_ith(1)[:128] == rows[1].tolist()
    with pytest.raises(errors.InvalidArgumentError):
        single.get_embeddings_seq(0)
    pooled.kv_cache_clear()


def test_an_encoder_and_its_decoder(files: dict[str, Path]) -> None:
    t5 = load(files["t5"])
    ctx = new_context(t5)
    ctx.encode(batch_of(t5.tokenize(b"hello world", True, False)))
    ctx.decode(batch_of([0]))
    assert np.isfinite(ctx.get_logits_ith(0)[0])
    with pytest.raises(errors.BatchError):
        new_context(t5, n_ubatch=1, n_batch=8).encode(batch_of([3, 4]))


def test_the_memory_by_sequence(model: LlamaModel) -> None:
    ctx = new_context(model, n_seq_max=2, kv_unified=True)

    def last(seq_id: int) -> int:
        position: int = llama_cpp.llama_memory_seq_pos_max(ctx.memory, seq_id)
        return position

    ctx.decode(batch_of([1, 5, 6, 7]))
    ctx.kv_cache_seq_cp(0, 1, -1, -1)
    assert (last(0), last(1)) == (3, 3)
    assert ctx.kv_cache_seq_rm(1, 2, -1)
    assert (last(0), last(1)) == (3, 1)
    ctx.kv_cache_seq_shift(1, 0, -1, 4)
    assert last(1) == 5
    ctx.kv_cache_seq_keep(1)
    assert (last(0), last(1)) == (-1, 5)
    assert ctx.kv_cache_seq_rm(-1, 0, -1)
    assert last(1) == -1
    ctx.decode(batch_of([1]))
    ctx.kv_cache_clear()
    assert last(0) == -1
    for misuse in (
        lambda: ctx.kv_cache_seq_rm(2, 0, -1),
        lambda: ctx.kv_cache_seq_cp(0, 2, 0, -1),
        lambda: ctx.kv_cache_seq_keep(-1),
        lambda: ctx.kv_cache_seq_shift(9, 0, -1, 1),
    ):
        with pytest.raises(errors.SequenceError):
            misuse()


def test_a_recurrent_memory_forgets_no_part(files: dict[str, Path]) -> None:
    ctx = new_context(load(files["mamba"]))
    ctx.decode(batch_of([1, 5, 6, 7]))
    assert ctx.kv_cache_seq_rm(0, 2, -1) is False
    assert ctx.kv_cache_seq_rm(0, -1, -1) is True


def test_the_rest_of_a_context(ctx: LlamaContext, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(ctx.ctx, llama_cpp.llama_context_p)
    assert llama_cpp.llama_get_model(ctx.ctx) == ctx.model.model
    assert ctx.n_ctx() == ctx.params.n_ctx == 256
    assert ctx.pooling_type() == llama_cpp.LLAMA_POOLING_TYPE_NONE
    ctx.set_n_threads(1, 2)
    assert llama_cpp.llama_n_threads(ctx.ctx) == 1
    ctx.kv_cache_clear()
    empty = ctx.get_state_size()
    ctx.decode(batch_of([1, 5]))
    assert ctx.get_state_size() > empty
    with caplog.at_level(logging.INFO, logger="llama_cpp"):
        ctx.print_timings()
    assert "eval time" in caplog.text
    ctx.reset_timings()
    assert llama_cpp.llama_perf_context(ctx.ctx).n_eval <= 1


# Lifetimes


def test_closing(files: dict[str, Path]) -> None:
    model = load(files["llama"])
    ctx, other = new_context(model), new_context(model)
    sampler = chain(("grammar", model, LlamaGrammar.from_string(ANSWER)), ("greedy",))
    batch, candidates = batch_of([1]), LlamaTokenDataArray(n_vocab=684)
    ctx.decode(batch)
    ctx.set_rng_seed(1)
    batch.close()
    other.close()
    for _ in range(2):
        model.close()
        for each in (batch, ctx, sampler):
            each.close()
    assert sampler.sampler is None
    uses: list[Callable[[], object]] = [
        lambda: model.model,
        lambda: model.vocab,
        model.n_vocab,
        model.n_embd,
        model.metadata,
        model.token_bos,
        model.rope_freq_scale_train,
        lambda: model.get_tensor("x"),
        lambda: model.tokenize(b"a", False, False),
        lambda: model.detokenize([5]),
        lambda: new_context(model),
        lambda: ctx.ctx,
        lambda: ctx.memory,
        ctx.n_ctx,
        ctx.pooling_type,
        ctx.kv_cache_clear,
        ctx.get_logits,
        ctx.print_timings,
        lambda: ctx.decode(batch_of([1])),
        lambda: ctx.set_rng_seed(2),
        lambda: ctx.sample_token(candidates),
        lambda: ctx.sample_top_k(candidates, 1, 1),
        lambda: ctx.sample_softmax(candidates),
        lambda: ctx.sample_grammar(candidates, sampler),
        lambda: batch.batch,
        batch.n_tokens,
        batch.reset,
        lambda: sampler.sample(ctx),
        lambda: sampler.accept(1),
        sampler.reset,
        sampler.clone,
        sampler.get_seed,
        sampler.add_greedy,
    ]
    for use in uses:
        with pytest.raises(errors.ClosedError):
            use()


def test_memory_is_freed_with_the_last_object_that_needs_it(files: dict[str, Path]) -> None:
    model = load(files["llama"])
    ctx = new_context(model)
    sampler = chain(("grammar", model, LlamaGrammar.from_string(ANSWER)), ("greedy",))
    finalizers = [each.handle._finalizer for each in (model, ctx, sampler)]
    del model
    ctx.decode(batch_of([1]))
    del ctx
    gc.collect()
    assert [each.alive for each in finalizers] == [True, False, True]
    sampler.close()
    del sampler
    gc.collect()
    assert not any(each.alive for each in finalizers)


@pytest.mark.parametrize(
    "ending",
    ["", "model.close()", "del model; gc.collect()", "cycle = [ctx]; cycle.append(cycle); del ctx"],
)
def test_the_interpreter_exits_in_silence(files: dict[str, Path], ending: str) -> None:
    script = f"""
        import gc
        import llama_cpp
        from llama_cpp import _internals as i

        params = llama_cpp.llama_model_default_params()
        model = i.LlamaModel(path_model={str(files["llama"])!r}, params=params)
        ctx = i.LlamaContext(model=model, params=llama_cpp.llama_context_default_params())
        batch = i.LlamaBatch(n_tokens=4, embd=0, n_seq_max=1)
        batch.set_batch([1, 5], 0, logits_all=False)
        ctx.decode(batch)
        grammar = i.LlamaGrammar.from_string("root ::= [a-z]+")
        sampler = i.LlamaSampler()
        sampler.add_custom(lambda pointer: None)
        sampler.add_grammar(model, grammar)
        sampler.add_dist(1)
        clone = sampler.clone()
        state = i.LlamaSamplingContext(grammar=grammar)
        state.accept(ctx, state.sample(ctx, 1), True)
        custom = i.CustomSampler(lambda pointer: None)
        print(sampler.sample(ctx) == clone.sample(ctx))
        {ending}
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


# The rest


def test_normalize_embedding() -> None:
    assert normalize_embedding([3.0, 4.0]) == [0.6, 0.8]
    assert normalize_embedding([0.0, 0.0]) == [0.0, 0.0]
    assert all(type(value) is float for value in normalize_embedding(np.ones(2)))  # type: ignore[arg-type]


def test_names_that_scripts_take_from_here() -> None:
    from llama_cpp import _internals

    assert "choices" in _internals.Completion.__annotations__
    assert suppress_stdout_stderr(disable=False)
