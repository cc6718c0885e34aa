"""Labels messages with the model in service, the same for `score` and over HTTP."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.preprocessing import normalize

# of a message; the tokenizer takes 20 s for a million, and the model reads only the first
# MAX_TOKENS, which are in these characters
READ_CHARACTERS = 20_000
FIRST_WINDOW_LENGTH = 250  # of versions whose tokenizer does not say it


def label_messages(
    texts: Sequence[str], model: Any, sources: Sequence[str | None] = ()
) -> pd.DataFrame:
    """The model's answer to each text, blank texts included.

    Args:
        model: an MLflow pyfunc model.
        sources: the source of each text, if it is known; or none at all.
    """
    messages = pd.DataFrame({"text": [_without_unread_end(text) for text in texts]}, dtype="str")
    if any(sources):
        messages["source"] = [source or "" for source in sources]
    return model.predict(messages)


def known_sources(model: Any) -> list[str]:
    """The sources for which a pyfunc model has thresholds of their own."""
    return sorted(model.unwrap_python_model().decision.get("sources", {}))


def window_length(model: Any) -> int:
    """The characters that a pyfunc model judges together."""
    return int(getattr(model.unwrap_python_model(), "window_length", FIRST_WINDOW_LENGTH))


def check_source(source: str | None, model: Any, version: str) -> None:
    """Raises: PipelineError if the model has no threshold for the source that was named."""
    if source is not None and source not in (known := known_sources(model)):
        raise PipelineError(
            f"--source: version {version} has no threshold for {source!r}; choose from "
            f"{', '.join(known) or 'none'}, or see `python -m pipeline calibrate --help`"
        )


def valid_unicode(text: str) -> str:
    """The text with `?` for each half of a surrogate pair, which no model can read."""
    return text.encode("utf-8", "replace").decode()


def _without_unread_end(text: str) -> str:
    """A text of at most READ_CHARACTERS, which the model labels as it does the whole text."""
    if len(text) <= READ_CHARACTERS:
        return text
    # without invisible characters first, so that they cannot hide what follows them
    return normalize.canonicalise(text)[:READ_CHARACTERS]
