"""Embeddings, reranking and classification."""
