"""``make_parts``: what completes, chats, embeds and measures with one model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..cache.fingerprint import Fingerprints
from ..cache.prompt_cache import PromptCache
from ..chat.chats import Chats
from ..chat.templates import Templates
from ..embeddings.embedding import Embeddings
from ..engine import Engine
from ..engine.speculative.draft_model import drafter_of
from ..generation.completions import Completions
from ..generation.generator import Generator
from ..generation.manual_sequence import ManualSequence
from ..generation.prompts import Prompts
from ..generation.scoring import Measures
from ..generation.states import States
from ..handles import Context, LoraAdapter, Vocab
from ..llama_tokenizer import BaseLlamaTokenizer
from ..models.adapters import DEFAULT, ModelAdapters, default_adapters
from ..models.params import ContextParams
from ..sampling.chain import EndTokens
from ..sampling.defaults import SamplingDefaults
from ..text import Pieces


@dataclass(frozen=True)
class Parts:
    """The parts of a ``Llama``, each of which can be made and used without it.

    Attributes:
        engine: Decodes for all of them.
        prompt_cache: The cache of states that prompts begin from.
        adapters: LoRA adapters by name, and the control vector.
        completions: ``create_completion``.
        chats: ``create_chat_completion``.
        embeddings: ``embed``, ``rerank`` and ``classify``.
        measures: ``score``, ``perplexity`` and ``memory``.
        sequence: Sequence 0, for work by hand: ``eval``, ``sample``, ``generate``.
        states: ``save_state``, ``load_state`` and sessions.
    """

    engine: Engine
    prompt_cache: PromptCache
    adapters: ModelAdapters
    completions: Completions
    chats: Chats
    embeddings: Embeddings
    measures: Measures
    sequence: ManualSequence
    states: States

    def close(self) -> None:
        """End what runs; the context may be closed afterwards."""
        self.prompt_cache.finish()
        self.embeddings.close()
        self.engine.close()


def make_parts(
    context: Context,
    params: ContextParams,
    tokenizer: BaseLlamaTokenizer,
    templates: Templates,
    defaults: SamplingDefaults,
    *,
    name: str,
    metadata: Mapping[str, str],
    chat_format: str | None,
    chat_handler: Any,
    draft_model: Any,
    lora_path: str | os.PathLike[str] | None,
    lora_scale: float,
    spm_infill: bool,
) -> Parts:
    """Put the parts together: the arguments are those of ``Llama``.

    Raises:
        ModelLoadError: The adapter or the draft model cannot be loaded.
        InvalidArgumentError: One of them does not fit the model.
    """
    model, vocab = context.model, context.model.vocab
    loaded = {} if lora_path is None else {DEFAULT: LoraAdapter(model, lora_path)}
    engine = Engine(
        context,
        EndTokens(vocab.is_eog),
        context_shift=params.context_shift,
        drafter=drafter_of(draft_model, context),
        adapters=default_adapters(loaded, lora_scale),
    )
    fingerprints = Fingerprints(context)
    prompt_cache = PromptCache(engine, fingerprints)
    adapters = ModelAdapters(engine, fingerprints, loaded)
    generator = Generator(engine, model, Pieces(vocab.token_to_piece), prompt_cache)
    prompts = Prompts(Vocab(model, engine.n_ctx), tokenizer, spm_infill=spm_infill)
    sequence = ManualSequence(engine, context, logits_all=params.logits_all)
    return Parts(
        engine=engine,
        prompt_cache=prompt_cache,
        adapters=adapters,
        completions=Completions(generator, prompts, adapters, defaults, name),
        chats=Chats(generator, templates, adapters, defaults, name, chat_format, chat_handler),
        embeddings=Embeddings(engine, metadata, name, params.poll),
        measures=Measures(generator, prompts),
        sequence=sequence,
        states=States(engine, sequence, fingerprints, defaults),
    )
