"""How many replies of a small model are the object that was asked for, and how well it chooses.

Run it with ``.venv/bin/python benchmarks/structured.py MODEL``; 200 replies take some minutes. The
constraint sees to it that every reply parses; what a model of its size knows shows in the choices.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from llama_cpp.errors import LlamaError
from llama_cpp.llama import Llama

N_PARALLEL = 4
QUESTION = "Invent a person, and describe them as JSON."
GOOD = (
    "What a lovely afternoon we had by the lake.",
    "The soup was hot, rich and full of flavour.",
    "She thanked him with the warmest smile.",
    "Our team won, and the whole town danced.",
    "This is the best book that I have read in years.",
    "The staff could not have been kinder.",
    "He was delighted with his new bicycle.",
    "A clever plot, and acting to match it.",
    "The repair was quick and cost next to nothing.",
    "I slept wonderfully in that soft bed.",
    "The children laughed from beginning to end.",
    "Everything arrived early and in perfect order.",
    "The garden is a joy at any time of the year.",
    "You made my day with your letter.",
    "The view from the top took our breath away.",
    "It runs fast, quietly and without a hitch.",
    "A generous portion at a very fair price.",
    "Her voice was clear and beautiful.",
    "We felt welcome from the first minute.",
    "The exam went far better than I had hoped.",
    "He is the most reliable friend I have.",
    "The cake was so good that I asked for more.",
    "A brilliant idea, and brilliantly carried out.",
    "The doctor was patient and very helpful.",
    "Spring is here at last, and I am happy.",
)
BAD = (
    "The room was dirty and smelled of smoke.",
    "He lost his job and all of his savings.",
    "The soup was cold and tasted of nothing.",
    "I waited for two hours and nobody came.",
    "This is the worst film that I have seen in years.",
    "The waiter was rude and forgot our order.",
    "It broke on the first day of use.",
    "She cried because nobody had remembered her birthday.",
    "A dull plot, and dreadful acting.",
    "The repair took weeks and cost a fortune.",
    "I could not sleep because of the noise.",
    "The parcel arrived late and badly damaged.",
    "Our team lost, and everyone went home angry.",
    "The garden is a mess of weeds and rubbish.",
    "Your letter made me very sad.",
    "The stairs are dangerous, and the lift never works.",
    "It is slow, loud and crashes every hour.",
    "A tiny portion at an outrageous price.",
    "His speech was boring and far too long.",
    "We were treated like thieves.",
    "The exam was a disaster.",
    "He lied to me again, and I am furious.",
    "The cake was dry and much too sweet.",
    "A terrible idea, and a terrible result.",
    "The flight was cancelled, and nobody helped us.",
)


class Person(BaseModel):
    """What is asked for."""

    name: str = Field(min_length=1, max_length=40)
    age: int = Field(ge=0, le=120)
    occupation: Literal["teacher", "farmer", "doctor", "engineer", "other"]
    email: str = Field(pattern=r"^[a-z.]{1,20}@[a-z]{1,12}\.(com|org)$")
    likes: list[Annotated[str, Field(max_length=30)]] = Field(min_length=1, max_length=3)


def parsed(llm: Llama, count: int) -> int:
    """How many of so many replies are a person."""

    def is_person(seed: int) -> bool:
        messages = [{"role": "user", "content": QUESTION}]
        try:
            person = llm.parse(messages, Person, seed=seed, temperature=1.0, max_tokens=600)
        except LlamaError:
            return False
        return isinstance(person, Person)

    with ThreadPoolExecutor(N_PARALLEL) as pool:
        return sum(pool.map(is_person, range(count)))


def right(llm: Llama) -> int:
    """For how many sentences the likelier word is the right one."""
    count = 0
    for sentences, answer in ((GOOD, " good"), (BAD, " bad")):
        for sentence in sentences:
            choice = llm.choose(f"Sentence: {sentence}\nFeeling (good or bad):", [" good", " bad"])
            count += choice.text == answer
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--replies", type=int, default=200)
    options = parser.parse_args()
    with Llama(options.model, n_ctx=1024, n_parallel=N_PARALLEL, verbose=False) as llm:
        print(f"{right(llm)} of {len(GOOD) + len(BAD)} sentences have the right feeling")
        print(f"{parsed(llm, options.replies)} of {options.replies} replies are a person")


if __name__ == "__main__":
    main()
