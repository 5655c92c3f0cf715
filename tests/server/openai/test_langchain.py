"""LangChain's ``ChatOpenAI`` pointed at the server."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr
from server_kit import RunningServer

asked: list[str] = []


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    asked.append(city)
    return "sunny, 20 degrees"


def model_of(server: RunningServer) -> ChatOpenAI:
    return ChatOpenAI(
        model="tinychat", base_url=f"{server.url}/v1", api_key=SecretStr("none"), temperature=0
    )


def test_an_agent_calls_its_tool_and_answers(server: RunningServer) -> None:
    asked.clear()
    agent: Any = create_agent(model_of(server), [get_weather])
    result = agent.invoke({"messages": [("user", "What is the weather in Oslo?")]})
    assert asked == ["Oslo"]
    assert "20" in result["messages"][-1].content


def test_a_model_streams(server: RunningServer) -> None:
    parts = [
        str(part.content) for part in model_of(server).stream("What is the capital of France?")
    ]
    assert len(parts) > 3 and "Paris" in "".join(parts)


def test_embeddings(server: RunningServer) -> None:
    make: Any = OpenAIEmbeddings
    embeddings = make(
        model="tinychat", base_url=f"{server.url}/v1", api_key=SecretStr("none"),
        check_embedding_ctx_length=False,
    )  # fmt: skip
    vectors = embeddings.embed_documents(["one text", "two texts"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) == 256
