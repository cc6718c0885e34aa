"""Brings messages in: pinned downloads, databases, feeds and the user's own files."""
