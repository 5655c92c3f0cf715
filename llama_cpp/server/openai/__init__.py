"""OpenAI's routes: completions, chats, responses, embeddings, reranking, models."""
