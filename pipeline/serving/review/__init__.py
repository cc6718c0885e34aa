"""The review page: people decide about messages, and the decisions are saved at once."""
