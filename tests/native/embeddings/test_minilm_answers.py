"""Real embeddings through ``Llama``: those of a reference, and near where meanings are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bert_reference import BertReference
from llama_kit import open_llama

from llama_cpp.llama import Llama

ANSWERS = {
    "How do plants make food?": "Leaves turn sunlight, water and carbon dioxide into sugar.",
    "Why is the sky blue?": "Air scatters short wavelengths of light more than long ones.",
    "What causes tides?": "The pull of the moon raises and lowers the level of the sea.",
    "How can I lose weight?": "Eat fewer calories than you burn, and move more.",
    "Who painted the Mona Lisa?": "The famous portrait is a work of Leonardo da Vinci.",
    "How do I bake bread?": "Mix flour, water and yeast, let the dough rise, use a hot oven.",
    "What is the fastest land animal?": "Cheetahs sprint at over a hundred kilometres per hour.",
    "How does a vaccine work?": "It trains the immune system to recognise a germ.",
    "Where do penguins live?": "These birds breed on the coasts of Antarctica and the south.",
    "How do I fix a flat tyre?": "Take off the wheel, patch the hole in the tube, and pump it up.",
    "What is inflation?": "Prices rise and money buys less than it did.",
    "How do computers store numbers?": "As sequences of bits, zeros and ones.",
    "What is the boiling point of water?": "At sea level it turns to steam at 100 degrees Celsius.",
    "How long is a marathon?": "Runners have to cover about 42 kilometres.",
    "Why do we dream?": "The sleeping brain sorts memories and feelings.",
    "Who wrote Romeo and Juliet?": "Shakespeare is the author of the tragedy of two lovers.",
    "What does a judge do?": "In court, they decide cases by the law.",
    "How do I grow tomatoes?": "Plant the seedlings in a sunny bed and water them regularly.",
    "What is a black hole?": "A region of space whose gravity lets no light escape.",
    "How do I learn the guitar?": "Practise chords every day and play along with simple songs.",
}  # fmt: skip
MORE = [
    "Hello.", "A b c.", "12 + 30 = 42", "The quick brown fox jumps over the lazy dog.",
    "Crème brûlée, naïve café", "東京 2024", "def add(a, b): return a + b", "?!", "one " * 60,
    "It rained all day, and the river rose; by night it had reached the old mill.",
]  # fmt: skip


@pytest.fixture(scope="module")
def llm(minilm: Path) -> Iterator[Llama]:
    with open_llama(minilm, n_ctx=512) as model:
        yield model


def test_fifty_sentences_are_embedded_as_by_the_reference(llm: Llama) -> None:
    sentences = [*ANSWERS, *ANSWERS.values(), *MORE]
    assert len(sentences) == 50
    reference = BertReference()
    vocab = llm._model.vocab_handle
    rows = np.array(llm.embed(sentences, normalize=True))
    for sentence, row in zip(sentences, rows, strict=True):
        expected = reference.embed(vocab.tokenize(sentence))
        assert row @ expected >= 0.999, sentence


def test_the_right_answer_is_nearest(llm: Llama) -> None:
    questions = np.array(llm.embed(list(ANSWERS), normalize=True))
    answers = np.array(llm.embed(list(ANSWERS.values()), normalize=True))
    found = (questions @ answers.T).argmax(axis=1).tolist()
    assert found == list(range(20))


def test_many_texts_are_embedded_as_each_alone(llm: Llama) -> None:
    texts = [*ANSWERS, *ANSWERS.values(), *MORE] * 3
    together = np.array(llm.embed(texts, normalize=True))
    for text, row in zip(texts[:50], together, strict=False):
        assert row @ np.array(llm.embed(text, normalize=True)) > 0.999999
