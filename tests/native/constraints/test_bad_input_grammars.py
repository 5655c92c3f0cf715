"""Grammars that do not parse, that nothing satisfies, and tokens that they forbid."""

from __future__ import annotations

import random

import numpy as np
import pytest
from handles_kit import decode, open_context
from isolated import Cases, Files, Outcomes

from llama_cpp.errors import GrammarError, InvalidArgumentError, LlamaError, TextError, TokenError
from llama_cpp.handles.candidates import Candidates
from llama_cpp.handles.sampler import Sampler, SamplerChain
from llama_cpp.handles.sampler_kinds import grammar, grammar_lazy, greedy
from llama_cpp.handles.vocab import Vocab

cases = Cases(__file__)

HELLO = 'root ::= "hello" | "the" [a-z]*'


def allowed(sampler: Sampler, vocab: Vocab) -> set[int]:
    """The tokens that a grammar allows next."""
    candidates = Candidates(np.zeros(vocab.n_tokens))
    sampler.apply(candidates)
    data = candidates.data
    return set(data["id"][data["logit"] >= 0].tolist())


def use(sampler: Sampler, vocab: Vocab) -> None:
    allowed(sampler, vocab)
    allowed(sampler.clone(), vocab)
    sampler.reset()
    allowed(sampler, vocab)


@cases.add
def grammars_that_do_not_parse_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    for text in (
        'root ::= ("a"', 'root ::= "a', "root ::= [a", "root ::= a)", "root ::= *", "root",
        "root = a", 'root ::= "\\q"', "root ::= \\", 'root ::= "a"{-1}', 'root ::= "a"{',
        'root ::= "a"{1000000}', 'root ::= "a"{99999999999999999999}', "# only a comment",
        'root ::= "a"{1,2500}',
        'root ::= <[-1]>', "root ::= <no such token>", b'root ::= "\xff\xfe"', "{}", "\x01",
        'root ::= root "a" | "b"', 'root ::= a "x"\na ::= b\nb ::= root', 'x ::= "a"',
        "root ::= missing", 'root ::= "a" missing | "b"',
    ):  # fmt: skip
        with pytest.raises(GrammarError, match=r"line \d+, column \d+: |no such root rule"):
            grammar(vocab, text)


@cases.add
def grammars_that_are_no_texts_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    for text in ("", "  \n ", b""):
        with pytest.raises(GrammarError, match="the grammar is empty"):
            grammar(vocab, text)
    for bad in ('root ::= "a\0"', 'root ::= "\ud800"', None, 5):
        with pytest.raises(TextError, match="the grammar"):
            grammar(vocab, bad)  # type: ignore[arg-type]
    for root in ("ro\0ot", "\ud800", None):
        with pytest.raises(TextError, match="root rule"):
            grammar(vocab, HELLO, root)  # type: ignore[arg-type]
    for root in ("", "other"):
        with pytest.raises(GrammarError, match="no such root rule"):
            grammar(vocab, HELLO, root)


@cases.add
def grammars_that_exhaust_the_parser_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    with pytest.raises(GrammarError, match="bytes, at most"):
        grammar(vocab, 'root ::= "' + "a" * 10_000_000 + '"')
    with pytest.raises(GrammarError, match="nests 300 deep"):
        grammar(vocab, "root ::= " + "(" * 300 + '"a"' + ")" * 300)
    for repetition in ("{2,1}", "{ 1 , 0 }", "{99999,3}"):
        with pytest.raises(GrammarError, match="minimum is larger than its maximum"):
            grammar(vocab, f'root ::= "a"{repetition}')


@cases.add
def unusual_grammars_work(files: Files) -> None:
    vocab = files.model.vocab
    chain_of_rules = "\n".join(f"r{i} ::= r{i + 1}" for i in range(3000))
    for text in (
        'root ::= "' + "a" * 100_000 + '"',
        "root ::= " + "(" * 250 + '"a"' + ")" * 250,
        "root ::= " + ' "("' * 300,
        "root ::= " + " [(]" * 300,
        'root ::= "a" #' + "(" * 300,
        'root ::= "{2,1}" [{2,1}]',
        'root ::= ("a"*)* ("b"?)? | ""',
        "root ::= ", "root ::= | |", 'root ::= ""', "root ::= []", "root ::= [^]", "root ::= [z-a]",
        'root ::= (("a"{100}){100})', 'root ::= "a"{0,0}', 'root ::= ("a"?){30}',
        'root ::= "a"\nroot ::= "b"', "root ::= <[5]>", "root ::= <[999999]>",
        f'root ::= r0\n{chain_of_rules}\nr3000 ::= "a"',
    ):  # fmt: skip
        use(grammar(vocab, text), vocab)


@cases.add
def grammars_with_very_many_ways_to_a_rule_work(files: Files) -> None:
    vocab = files.model.vocab
    rules = "\n".join(f"r{i} ::= r{i + 1} | r{i + 1}" for i in range(60))
    use(grammar(vocab, f'root ::= r0\n{rules}\nr60 ::= "a"'), vocab)


@cases.add
def random_grammars_work_or_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    parts = ['"a"', "(", ")", "[a-z]", "*", "+", "?", "{2}", "{,}", "{3,1}", "|", "\n", "x ::= ",
             "x", '"', "\\", "<", ">", "[", "#", ".", "root", " ", "{1,", "^"]  # fmt: skip
    chance, worked = random.Random(3), 0
    for _ in range(1500):
        text = "root ::= " + "".join(chance.choices(parts, k=chance.randrange(1, 15)))
        try:
            sampler = grammar(vocab, text)
        except LlamaError:
            continue
        use(sampler, vocab)
        worked += 1
    assert worked > 50


@cases.add
def grammar_that_no_token_satisfies_is_reported(files: Files) -> None:
    context, vocab = open_context(files.model), files.model.vocab
    decode(context)
    sampler = grammar(vocab, "root ::= [z-a]")
    assert allowed(sampler, vocab) == set()
    chain = SamplerChain([sampler, greedy()])
    with pytest.raises(GrammarError, match="does not allow|no token"):
        chain.sample(context)
    chain.reset()
    with pytest.raises(GrammarError):
        chain.sample(context)


@cases.add
def forbidden_token_is_refused_and_changes_nothing(files: Files) -> None:
    vocab = files.model.vocab
    hello = vocab.tokenize("hello", add_special=False)
    for sampler in (grammar(vocab, HELLO), SamplerChain([grammar(vocab, HELLO), greedy()])):
        before = allowed(sampler, vocab)
        for token in (vocab.eos, vocab.bos, 3, 5, vocab.tokenize("x", add_special=False)[-1]):
            with pytest.raises(GrammarError, match=f"does not allow token {token} here"):
                sampler.accept(token)
            assert allowed(sampler, vocab) == before
        for no_token in (-1, vocab.n_tokens, 2**31, "x", None):
            with pytest.raises(TokenError):
                sampler.accept(no_token)  # type: ignore[arg-type]
        assert hello[0] not in before or len(hello) > 1


@cases.add
def nothing_may_follow_the_end_of_the_text(files: Files) -> None:
    vocab = files.model.vocab
    letter = vocab.tokenize("<|im_start|>h", add_special=False, parse_special=True)[-1]
    sampler = grammar(vocab, f"root ::= <[{letter}]>")
    sampler.accept(letter)
    assert vocab.eos in allowed(sampler, vocab)
    sampler.accept(vocab.eos)
    with pytest.raises(GrammarError):
        sampler.accept(letter)
    use(sampler, vocab)


@cases.add
def lazy_grammars_with_bad_triggers_are_refused(files: Files) -> None:
    vocab = files.model.vocab
    for pattern in ("([", "*", "(?P<x>", "a{2,1}", "\\"):
        with pytest.raises(GrammarError, match="cannot be used"):
            grammar_lazy(vocab, HELLO, trigger_patterns=[pattern])
    for bad in ("a\0", "\ud800", 5):
        with pytest.raises(TextError, match="trigger pattern"):
            grammar_lazy(vocab, HELLO, trigger_patterns=[bad])  # type: ignore[list-item]
    for token in (-1, vocab.n_tokens, 2**40, "x"):
        with pytest.raises(TokenError):
            grammar_lazy(vocab, HELLO, trigger_tokens=[token])  # type: ignore[list-item]
    use(grammar_lazy(vocab, HELLO), vocab)
    use(grammar_lazy(vocab, HELLO, trigger_patterns=[""]), vocab)


@cases.add
def trigger_that_contradicts_its_grammar_is_reported(files: Files) -> None:
    vocab = files.model.vocab
    by_token = grammar_lazy(vocab, HELLO, trigger_tokens=[5])
    by_pattern = grammar_lazy(vocab, HELLO, trigger_patterns=["(x)"])
    for sampler, tokens in (
        (by_token, [5]),
        (by_pattern, vocab.tokenize("hello x", add_special=False)),
    ):
        for _ in range(2):
            with pytest.raises(GrammarError, match="cannot be accepted"):
                for token in tokens:
                    sampler.accept(token)
            use(sampler, vocab)


@cases.add
def grammar_of_a_closed_model_is_closed(files: Files) -> None:
    sampler = grammar(files.model.vocab, HELLO)
    sampler.close()
    with pytest.raises(LlamaError, match="closed"):
        sampler.accept(5)
    with pytest.raises((InvalidArgumentError, LlamaError)):
        SamplerChain([sampler])


@pytest.mark.parametrize("name", cases.names)
def test_bad_grammar(name: str, outcomes: Outcomes) -> None:
    outcomes.check(name)


def test_nothing_is_printed(outcomes: Outcomes) -> None:
    assert outcomes.output == ""
