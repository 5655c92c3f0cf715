"""``Completions``: from a call of ``create_completion`` to texts that are being written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.adapters import ModelAdapters
from ..sampling.defaults import SamplingDefaults
from .completion import CompletionJob
from .generator import Generator
from .options import CompletionOptions
from .params import CompletionParams
from .prompts import Prompt, Prompts

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Completions:
    """Completes prompts with one model.

    Args:
        generator: Writes the texts.
        prompts: Tokenizes prompts.
        adapters: Those that calls may name.
        defaults: Sampling parameters where a call says nothing.
        model_name: What results say the model is where a call says nothing.
    """

    def __init__(
        self,
        generator: Generator,
        prompts: Prompts,
        adapters: ModelAdapters,
        defaults: SamplingDefaults,
        model_name: str,
    ) -> None:
        self._generator = generator
        self._prompts = prompts
        self._adapters = adapters
        self._defaults = defaults
        self._model_name = model_name

    def params(self, **options: Unpack[CompletionOptions]) -> CompletionParams:
        """Check the arguments of ``Llama.create_completion``; those left out have its defaults.

        Raises:
            TypeError: A name is unknown.
            InvalidArgumentError: A value is out of range.
        """
        options.setdefault("penalty_last_n", self._defaults.penalty_last_n)
        return CompletionParams.of(options)

    def job(self, prompt: Prompt, params: CompletionParams) -> CompletionJob:
        """Make a call, which begins when its result is asked for.

        Args:
            prompt: A text, token ids, or a list of either.
            params: How to complete it.

        Raises:
            InvalidArgumentError: The prompt is empty, or the model does not continue texts.
            TokenError: A token id is not in the vocabulary.
            ClosedError: The model is closed.
        """
        self._generator.check()
        prompts = self._prompts.tokenize(prompt, params.suffix)
        return CompletionJob(
            self._generator,
            prompts,
            self._defaults.seeded(params.sampling),
            params.generation.with_adapters(self._adapters.named(params.lora)),
            self._prompts.texts(prompt) if params.generation.echo else (),
            # Without tokens for it, what comes after the text is all that a suffix can be.
            suffix="" if self._prompts.can_fill_in else params.suffix or "",
            model_name=self._model_name if params.model is None else params.model,
            include_usage=params.include_usage,
            texts=params.texts(),
        )
