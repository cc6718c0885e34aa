"""Asks the champion for reasons; it is found or loaded in the background, when first needed."""

import threading
from collections.abc import Callable
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.serving.predict import champion_answerer

LOADING = "the model is being loaded, which takes some seconds"
Answerer = Callable[[str], dict[str, Any]]


class BackgroundChampion:
    """The champion of the registry, or of a server on this machine. The page works without one.

    Args:
        find: returns what answers a text. Raises: PipelineError.
    """

    def __init__(self, find: Callable[[], Answerer] = champion_answerer) -> None:
        self._find = find
        self._answer: Answerer | None = None
        self._problem = LOADING
        self._thread = threading.Thread(target=self._load, daemon=True)
        self._start = threading.Lock()
        self._turn = threading.Lock()

    def problem(self) -> str:
        """Why there are no reasons yet; empty if there are. The first call begins to load."""
        with self._start:
            if self._thread.ident is None:
                self._thread.start()
        return self._problem

    def answer(self, text: str) -> dict[str, Any]:
        """The champion's answer with its reasons. Raises: PipelineError."""
        if problem := self.problem():
            raise PipelineError(problem)
        assert self._answer  # as there is no problem
        with self._turn:
            return self._answer(text)

    def _load(self) -> None:
        try:
            self._answer = self._find()
            self._problem = ""
        except Exception as error:
            is_ours = isinstance(error, PipelineError)
            self._problem = str(error) if is_ours else f"no model: {type(error).__name__}"
