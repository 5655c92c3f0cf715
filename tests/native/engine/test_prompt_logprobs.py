"""Log-probabilities of a prompt: one entry per token, however short it is."""

from __future__ import annotations

import pytest
from llama_kit import PROMPT, complete, open_llama
from zoo import Zoo


@pytest.mark.parametrize("kind", ["llama", "mamba"])
@pytest.mark.parametrize("max_tokens", [0, 2])
def test_every_token_of_a_prompt_is_measured_once(zoo: Zoo, kind: str, max_tokens: int) -> None:
    with open_llama(getattr(zoo, kind), n_ubatch=16) as llm:
        for length in (1, 2, 3, 17, 40, 1):
            answer = complete(llm, PROMPT[:length], echo=True, logprobs=1, max_tokens=max_tokens)
            measured = answer["choices"][0]["logprobs"]["token_logprobs"]
            assert len(measured) == length + max_tokens
            assert measured[0] is None and None not in measured[1:]


def test_a_single_token_is_measured_with_a_draft_model(zoo: Zoo) -> None:
    with open_llama(zoo.llama, draft_model=lambda tokens: [400, 401]) as llm:
        answer = complete(llm, [300], echo=True, logprobs=1, max_tokens=4)
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == 5
