"""Fields for models of requests that programs make themselves, by llama-cpp-python's names."""

from __future__ import annotations

from typing import Any

from pydantic import Field

model_field: Any = Field(None, description="Which model.")
max_tokens_field: Any = Field(16, ge=1, description="Tokens to generate at most.")
min_tokens_field: Any = Field(0, ge=0, description="No end before so many tokens.")
temperature_field: Any = Field(0.8, description="Divides the logits; 0 takes the likeliest.")
top_p_field: Any = Field(0.95, ge=0, le=1, description="Keep the likeliest that sum up to p.")
min_p_field: Any = Field(0.05, ge=0, le=1, description="Keep those p times as likely as the best.")
top_k_field: Any = Field(40, ge=0, description="Keep the k likeliest.")
stop_field: Any = Field(None, description="Texts that end the completion.")
stream_field: Any = Field(False, description="Whether the answer comes in parts.")
repeat_penalty_field: Any = Field(1.0, ge=0, description="Divides the logits of repeated tokens.")
presence_penalty_field: Any = Field(0.0, ge=-2, le=2, description="Subtracted once.")
frequency_penalty_field: Any = Field(0.0, ge=-2, le=2, description="Subtracted per occurrence.")
mirostat_mode_field: Any = Field(0, ge=0, le=2, description="Mirostat's version; 0 is off.")
mirostat_tau_field: Any = Field(5.0, ge=0, le=10, description="Mirostat's target surprise.")
mirostat_eta_field: Any = Field(0.1, ge=0.001, le=1, description="Mirostat's learning rate.")
grammar: Any = Field(None, description="What the text has to look like, in GBNF.")
