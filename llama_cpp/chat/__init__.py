"""Chats: from messages to prompts, and from replies back to messages."""
