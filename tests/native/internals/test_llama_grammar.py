"""``llama_cpp.llama_grammar``, and grammars at work on a tiny model."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from internals_kit import (
    ANSWER,
    byte_token,
    chain,
    generate,
)

from llama_cpp import errors
from llama_cpp._internals import (
    LlamaContext,
    LlamaGrammar,
    LlamaModel,
    LlamaSampler,
    LlamaTokenDataArray,
)
from llama_cpp.llama_grammar import LLAMA_GRAMMAR_DEFAULT_ROOT, json_schema_to_gbnf


def test_a_grammar_constrains_candidates(ctx: LlamaContext, model: LlamaModel) -> None:
    grammar = LlamaGrammar.from_string(ANSWER, verbose=False)

    def allowed() -> set[bytes]:
        candidates = LlamaTokenDataArray(n_vocab=model.n_vocab())
        ctx.sample_grammar(candidates, grammar)
        tokens = np.flatnonzero(np.isfinite(candidates.candidates_data.logit)).tolist()
        return {model.token_to_piece(token, special=True) for token in tokens}

    def accept(text: bytes) -> None:
        (token,) = model.tokenize(text, add_bos=False, special=True)
        ctx.grammar_accept_token(grammar, token)

    # Byte tokens stand for letters too, so pieces may repeat.
    assert {piece[:1] for piece in allowed()} == {b"y", b"n"}
    with pytest.raises(errors.GrammarError):
        ctx.grammar_accept_token(grammar, model.token_eos())
    for letter in b"no!":
        ctx.grammar_accept_token(grammar, byte_token(model, letter))
    assert allowed() == {b"</s>", b"<|im_end|>"}
    accept(b"</s>")
    other = LlamaGrammar.from_string(ANSWER)
    ctx.grammar_accept_token(other, byte_token(model, ord("y")))


def test_the_state_of_a_grammar_goes_with_it(ctx: LlamaContext, model: LlamaModel) -> None:
    grammar = LlamaGrammar.from_string(ANSWER)
    ctx.grammar_accept_token(grammar, byte_token(model, ord("y")))
    state = ctx._grammars[grammar]
    finalizer = state._finalizer
    del grammar, state
    gc.collect()
    assert not finalizer.alive


def test_a_sampler_serves_as_grammar(ctx: LlamaContext, model: LlamaModel) -> None:
    state = chain(("grammar", model, LlamaGrammar.from_string(ANSWER)))
    ctx.grammar_accept_token(state, byte_token(model, ord("n")))
    candidates = LlamaTokenDataArray(n_vocab=model.n_vocab())
    ctx.sample_grammar(candidates, state)
    assert model.token_to_piece(ctx.sample_token_greedy(candidates)) == b"o"
    with pytest.raises(errors.TokenError):
        ctx.sample_grammar(LlamaTokenDataArray(n_vocab=700), state)


def test_generation_obeys_a_grammar(ctx: LlamaContext, model: LlamaModel) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    for grammar, check in (
        (LlamaGrammar.from_string(ANSWER), lambda text: text in ("yes!", "no!")),
        (LlamaGrammar.from_json_schema(json.dumps(schema)), lambda text: json.loads(text)["a"]),
    ):
        for final in (("greedy",), ("dist", 4)):
            sampler = chain(("grammar", model, grammar), final)
            text = model.detokenize(generate(ctx, lambda i: sampler.sample(ctx, i), 60))  # noqa: B023
            assert check(text.decode())


def test_a_grammar_left_without_a_token_raises(prompted: LlamaContext, model: LlamaModel) -> None:
    grammar = LlamaGrammar.from_string(ANSWER)
    only_eos = {token: -np.inf for token in range(684) if token != model.token_eos()}
    ends = chain(("logit_bias", 684, only_eos), ("grammar", model, grammar), ("greedy",))
    for _ in range(2):
        with pytest.raises(errors.GrammarError):
            ends.sample(prompted)
    for _ in range(2):
        with pytest.raises(errors.GrammarError):
            ends.accept(model.token_eos())
        with pytest.raises(errors.GrammarError):
            ends.clone().accept(byte_token(model, ord("x")))
    ends.accept(byte_token(model, ord("y")))
    with pytest.raises(errors.TokenError):
        ends.accept(684)


def test_a_lazy_grammar_waits_for_its_trigger(prompted: LlamaContext, model: LlamaModel) -> None:
    grammar = LlamaGrammar.from_string('root ::= "!" "no"')
    mark, letter = byte_token(model, ord("!")), byte_token(model, ord("n"))
    waits: list[tuple[list[str], list[int]]] = [([], [mark]), (["(!)"], [])]
    for triggers in waits:
        sampler = chain(("grammar_lazy_patterns", model, grammar, *triggers), ("greedy",))
        free = chain(("greedy",)).sample(prompted)
        assert sampler.sample(prompted) == free
        sampler.accept(mark)
        assert model.token_to_piece(sampler.sample(prompted)) in (b"n", b"no")
    # A trigger that the grammar itself refuses: the next use of the broken state would abort.
    broken = chain(("grammar_lazy_patterns", model, grammar, [], [letter]), ("greedy",))
    with pytest.raises(errors.GrammarError):
        broken.accept(letter)
    assert broken.sample(prompted) == free
    with pytest.raises(errors.TokenError):
        LlamaSampler().add_grammar_lazy_patterns(model, grammar, [], [684])


def test_grammars_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "answer.gbnf"
    file.write_text(ANSWER, "utf-8")
    assert LlamaGrammar.from_file(str(file), verbose=False)._grammar == ANSWER
    file.write_text("", "utf-8")
    with pytest.raises(errors.GrammarError, match=r"answer\.gbnf"):
        LlamaGrammar.from_file(file)
    file.write_bytes(b"\xff")
    with pytest.raises(errors.GrammarError, match="UTF-8"):
        LlamaGrammar.from_file(file)
    with pytest.raises(FileNotFoundError):
        LlamaGrammar.from_file(tmp_path / "missing.gbnf")


def test_a_bad_grammar_is_refused_where_it_is_used(model: LlamaModel) -> None:
    assert LlamaGrammar("ignored", _grammar="x", more=1)._root == LLAMA_GRAMMAR_DEFAULT_ROOT
    with pytest.raises(errors.GrammarError, match="empty"):
        LlamaGrammar.from_string(" \n")
    with pytest.raises(errors.GrammarError, match="line 1, column 12"):
        LlamaSampler().add_grammar(model, LlamaGrammar.from_string('root ::= "a'))


def test_a_schema_in_an_order() -> None:
    properties: dict[str, Any] = {name: {"type": "integer"} for name in "abc"}
    properties["o"] = {"const": {"z": 1, "c": 2}}
    inner = {"properties": {"x": {}, "c": {}}, "required": ["x", "c"]}
    properties["i"] = {"type": "array", "items": inner}
    schema = json.dumps({"type": "object", "properties": properties, "required": list("abcoi")})

    def order(rules: str, rule: str) -> str:
        (line,) = (line for line in rules.splitlines() if line.startswith(f"{rule} ::="))
        return " ".join(word[-4] for word in line.split() if word.endswith("-kv"))

    plain, ordered = json_schema_to_gbnf(schema), json_schema_to_gbnf(schema, ["c", "a"])
    assert (order(plain, "root"), order(plain, "i-item")) == ("a b c o i", "x c")
    assert (order(ordered, "root"), order(ordered, "i-item")) == ("c a b o i", "c x")
    constant = r'"{\"z\":1,\"c\":2}"'
    assert constant in plain
    assert constant in ordered


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        '{"type": "nonsense"}',
        '{"a": NaN}',
        '{"$ref": "https://example.invalid/s.json"}',
        '{"a":' * 65 + "{}" + "}" * 65,
        "[" * 200_000,
        '"' + '\\"' * 400_000,
        json.dumps({"description": "x" * (1 << 20)}),
        '{"const": ' + "9" * 5000 + "x}",
    ],
    ids=range(10),
)
def test_a_bad_schema_is_refused(schema: str) -> None:
    with pytest.raises(errors.GrammarError):
        LlamaGrammar.from_json_schema(schema)


def test_depth_is_not_counted_in_strings() -> None:
    assert "[" * 100 in json_schema_to_gbnf(json.dumps({"const": "[" * 100}))
    with pytest.raises(errors.TextError):
        json_schema_to_gbnf('{"const": "\0"}')
