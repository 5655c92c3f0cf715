"""``Sampler`` and ``SamplerChain``: from a row of logits to a token.

``sampler_kinds`` has the constructors, one for every ``llama_sampler_init_*``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import llama_cpp as raw
from ..errors import GrammarError, InvalidArgumentError, LlamaError
from ..native.backend import bridge, collect_errors, take_string
from ..validation import native_arguments as checks
from .base import ExclusiveHandle
from .candidates import Candidates

if TYPE_CHECKING:
    from .context import Context
    from .python_sampler import PythonSampler
    from .vocab import Vocab


_GRAMMAR = "grammar"  # the engine's name of grammar samplers


class Sampler(ExclusiveHandle):
    """One native sampler. Made by the functions of ``sampler_kinds``.

    Args:
        pointer: The native sampler, which this handle owns from now on.
        selects: Whether it chooses a token, rather than change the candidates.
        vocab: The vocabulary that it reads, if any.
        python: The Python object behind its callbacks, if any.
    """

    def __init__(
        self,
        pointer: raw.llama_sampler_p | None,
        *,
        selects: bool = False,
        vocab: Vocab | None = None,
        python: PythonSampler | None = None,
    ) -> None:
        super().__init__(pointer, raw.llama_sampler_free, parent=vocab)
        self.selects = selects
        self.vocab = vocab
        self.python = python

    @property
    def name(self) -> str:
        """The engine's name of the sampler."""
        name = raw.llama_sampler_name(self.pointer)
        return "" if name is None else name.decode("utf-8", "replace")

    @property
    def seed(self) -> int:
        """The seed in use, or ``LLAMA_DEFAULT_SEED`` where there is none."""
        return raw.llama_sampler_get_seed(self.pointer)

    @property
    def constrains(self) -> bool:
        """Whether it is a grammar, or a chain with one: it can refuse a token."""
        return self.vocab is not None and self.name == _GRAMMAR

    @property
    def vocabs(self) -> list[Vocab]:
        """The vocabularies that it reads."""
        return [] if self.vocab is None else [self.vocab]

    def apply(self, candidates: Candidates) -> None:
        """Change the candidates in place, and choose one if this sampler does.

        Raises:
            TokenError: A candidate is not in the vocabulary that this sampler reads.
        """
        if self.vocabs:
            # The engine looks their texts up, and throws across C where there is none.
            ids = candidates.data["id"]
            for token in (int(ids.min()), int(ids.max())):
                self._check_token(token)
        self.call(raw.llama_sampler_apply, ctypes.byref(candidates.struct))
        self._raise_python_errors()

    def accept(self, token: int) -> None:
        """Tell the sampler which token was chosen.

        Raises:
            GrammarError: A grammar forbids it. The sampler is as it was; but a lazy grammar that
                this token triggered starts over.
            TokenError: It is no token id.
        """
        token = self._check_token(token)
        error = ctypes.c_char_p()
        pointer = self.acquire()
        try:
            grammars = list(_grammars(pointer)) if self.constrains else []
            if any(_forbids(grammar, token) for grammar in grammars):
                raise GrammarError(f"the grammar does not allow token {token} here")
            bridge("bridge_sampler_accept")(pointer, token, ctypes.byref(error))
            if error:
                # The next use of a grammar that threw would abort the process.
                for grammar in grammars:
                    raw.llama_sampler_reset(grammar)
        finally:
            self.release()
        self._raise_python_errors()
        if error:
            raise GrammarError(f"token {token} cannot be accepted: {take_string(error)}")

    def reset(self) -> None:
        """Forget the accepted tokens; random samplers start over from their seed."""
        self.call(raw.llama_sampler_reset)
        self._raise_python_errors()

    def clone(self) -> Sampler:
        """A copy with the same state."""
        return Sampler(
            self.call(raw.llama_sampler_clone),
            selects=self.selects, vocab=self.vocab, python=self.python,
        )  # fmt: skip

    def _check_token(self, token: int) -> int:
        return checks.token_id(token, min((v.n_tokens for v in self.vocabs), default=2**31))

    def _raise_python_errors(self) -> None:
        if self.python is not None:
            self.python.raise_error()


class SamplerChain(Sampler):
    """Samplers that are applied one after another. The last one should choose a token.

    Args:
        samplers: The first members; the chain takes them over.
        no_perf: Do not measure times.
    """

    def __init__(self, samplers: Sequence[Sampler] = (), *, no_perf: bool = True) -> None:
        params = raw.llama_sampler_chain_params(no_perf)
        super().__init__(raw.llama_sampler_chain_init(params))
        self._members: list[_Member] = []
        self._note_members()
        for sampler in samplers:
            self.add(sampler)

    def add(self, sampler: Sampler) -> None:
        """Append a sampler. The chain owns it from now on; its own handle counts as closed.

        Raises:
            InvalidArgumentError: It is this chain itself.
            ClosedError: It was closed, or added to a chain before.
        """
        checks.instance(sampler, Sampler, "sampler")
        if sampler is self:
            raise InvalidArgumentError("a chain cannot be a member of itself")
        member = _Member(sampler)
        pointer = self.acquire()
        try:
            raw.llama_sampler_chain_add(pointer, sampler._disown())
            self._members.append(member)
            for vocab in member.vocabs:
                vocab._adopt(self)  # closing the model closes the chain that reads it
        finally:
            self.release()
        self._note_members()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def constrains(self) -> bool:
        """Whether it has a grammar among its members."""
        return any(member.constrains for member in self._members)

    @property
    def vocabs(self) -> list[Vocab]:
        """The vocabularies that its members read."""
        return [vocab for member in self._members for vocab in member.vocabs]

    @property
    def names(self) -> list[str]:
        """The engine's names of the members, in order."""
        pointer = self.pointer
        members = (raw.llama_sampler_chain_get(pointer, i) for i in range(len(self)))
        return [(raw.llama_sampler_name(m) or b"").decode() for m in members if m is not None]

    def apply_each(self, candidates: Candidates) -> Iterator[str]:
        """Apply the members one after another; yield the engine's name of each that was."""
        for index in range(len(self)):
            pointer = self.acquire()
            try:
                member = raw.llama_sampler_chain_get(pointer, index)
                assert member is not None
                name = raw.llama_sampler_name(member) or b""
                raw.llama_sampler_apply(member, ctypes.byref(candidates.struct))
            finally:
                self.release()
            self._raise_python_errors()
            yield name.decode("utf-8", "replace")

    def remove(self, index: int) -> Sampler:
        """Take a member out and own it again.

        Raises:
            InvalidArgumentError: There is no such member.
        """
        if not 0 <= index < len(self):
            raise InvalidArgumentError(f"the chain has members 0 to {len(self) - 1}, not {index}")
        pointer = self.call(raw.llama_sampler_chain_remove, index)
        sampler = self._members.pop(index).handle(pointer)
        self._note_members()
        return sampler

    def sample(self, context: Context, index: int = -1) -> int:
        """Choose a token from a row of logits, and accept it.

        Args:
            context: Its last decode gave the logits.
            index: Of the batch entry that asked for them; -1 is the last one that did.

        Raises:
            InvalidArgumentError: There are no logits at this index, no member chooses, or one
                reads the vocabulary of another model.
            GrammarError: The grammar allows no token.
        """
        for vocab in self.vocabs:
            if vocab.n_tokens != context.model.n_vocab:
                raise InvalidArgumentError(
                    f"a sampler of this chain reads a vocabulary of {vocab.n_tokens} tokens, but "
                    f"the model of the context has {context.model.n_vocab}"
                )
        if self._must_check:
            return self._sample_checked(context, index)
        error = ctypes.c_char_p()
        context_pointer = context.acquire()
        try:
            pointer = self.acquire()
            try:
                with collect_errors() as log:
                    # The engine aborts the process where there are no logits.
                    if not raw.llama_get_logits_ith(context_pointer, index):
                        raise _no_logits(index, list(log))
                token = bridge("bridge_sampler_sample")(
                    pointer, context_pointer, index, ctypes.byref(error)
                )
            finally:
                self.release()
        finally:
            context.release()
        if error:
            raise LlamaError(f"no token can be sampled: {take_string(error)}")
        return int(token)

    def clone(self) -> SamplerChain:
        """A copy with the same members and states."""
        return SamplerChain._of(self.call(raw.llama_sampler_clone), self._members)

    @classmethod
    def _of(cls, pointer: raw.llama_sampler_p | None, members: Sequence[_Member]) -> SamplerChain:
        """A handle for a native chain that has these members already."""
        chain = cls.__new__(cls)
        Sampler.__init__(chain, pointer)
        chain._members = list(members)
        chain._note_members()
        for vocab in chain.vocabs:
            vocab._adopt(chain)
        return chain

    def _note_members(self) -> None:
        # Once per change of the members: sample() runs for every token.
        self.selects = bool(self._members) and self._members[-1].selects
        self._must_check = not self.selects or self.constrains or bool(self._python_samplers())

    def _sample_checked(self, context: Context, index: int) -> int:
        # The engine's own sampling loop aborts on what Python samplers may leave, and on an end of
        # text that a grammar does not allow yet.
        candidates = Candidates(context.logits(index))
        self.apply(candidates)
        token = candidates.selected_token
        self.accept(token)
        return token

    def _python_samplers(self) -> list[PythonSampler]:
        return [python for member in self._members for python in member.pythons]

    def _raise_python_errors(self) -> None:
        for python in self._python_samplers():
            python.raise_error()


class _Member:
    """What a chain must know, and keep alive, of a sampler that it took over."""

    def __init__(self, sampler: Sampler) -> None:
        self.selects = sampler.selects
        self.constrains = sampler.constrains
        self.is_chain = isinstance(sampler, SamplerChain)
        self.members = list(sampler._members) if isinstance(sampler, SamplerChain) else []
        self.vocab = sampler.vocab
        self.python = sampler.python

    @property
    def vocabs(self) -> list[Vocab]:
        own = [] if self.vocab is None else [self.vocab]
        return own + [vocab for member in self.members for vocab in member.vocabs]

    @property
    def pythons(self) -> list[PythonSampler]:
        own = [] if self.python is None else [self.python]
        return own + [python for member in self.members for python in member.pythons]

    def handle(self, pointer: raw.llama_sampler_p | None) -> Sampler:
        if self.is_chain:
            return SamplerChain._of(pointer, self.members)
        return Sampler(pointer, selects=self.selects, vocab=self.vocab, python=self.python)


def _no_logits(index: int, log: Sequence[str]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"there are no logits for index {index}: the last batch did not ask for them there, or "
        "nothing was decoded yet",
        log,
    )


def _grammars(pointer: raw.llama_sampler_p) -> Iterator[raw.llama_sampler_p]:
    """The grammars in a native sampler, those in chains of chains too."""
    if raw.llama_sampler_name(pointer) == _GRAMMAR.encode():
        yield pointer
    index = 0
    while (member := raw.llama_sampler_chain_get(pointer, index)) is not None:
        yield from _grammars(member)
        index += 1


def allows(grammar: Sampler, token: int) -> bool:
    """Whether a grammar lets a token follow."""
    pointer = grammar.acquire()
    try:
        return not _forbids(pointer, token)
    finally:
        grammar.release()


def _forbids(grammar: raw.llama_sampler_p, token: int) -> bool:
    entry = raw.llama_token_data(token, 0.0, 0.0)
    candidates = raw.llama_token_data_array(ctypes.pointer(entry), 1, -1, False)
    raw.llama_sampler_apply(grammar, ctypes.byref(candidates))
    return bool(entry.logit < 0)
