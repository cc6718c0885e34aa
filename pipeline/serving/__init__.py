"""Applies the champion to files of messages and over HTTP."""
