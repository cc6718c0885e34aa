"""Pages for people about a model: the decision report, and the history of the champions."""
