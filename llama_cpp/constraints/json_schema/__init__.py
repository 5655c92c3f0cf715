"""JSON schemas as GBNF, by the engine's converter, and what it cannot honour."""
