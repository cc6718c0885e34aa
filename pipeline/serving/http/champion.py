"""The champion in the memory of a server, which follows the registry while it answers."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.registry.package_hash import PACKAGE_TAG
from pipeline.registry.versions import Version
from pipeline.serving.labels import label_messages, window_length

Key = tuple[str, str | None]  # number of a version, and hash of its files

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 3  # between two looks at the registry
KEPT_VERSIONS = 2  # in memory, so that a rollback needs no loading
# A character of four bytes that no tokenizer joins: each width of token ids is compiled before it
# is needed. See models/served_model.py for the widths and the most tokens that are read.
WARM_UP_CHARACTER = "\U00020000"
WARM_UP_LENGTHS = (3, 7, 15, 31, 63, 127, 255, 511)  # characters; up to a window, and a window


@dataclass(frozen=True)
class LoadedVersion:
    """A model version in memory.

    model: an MLflow pyfunc model.
    package: the hash of its files; a registry that was rebuilt may use a number again.
    """

    model: Any
    number: str
    package: str | None = None
    loaded_at: float = field(default_factory=time.time)  # seconds since 1970


class ServedChampion:
    """The version that answers now. Threads may read the fields while `follow` changes them.

    current: the version.
    is_warm: whether all shapes of `current` have been compiled.
    problem: why the champion of the registry does not answer; None if it does.
    reloads: how often another version has taken over.
    """

    def __init__(self, current: LoadedVersion) -> None:
        self.current = current
        self.is_warm = False
        self.problem: str | None = None
        self.reloads = 0
        self._kept = [current]  # the oldest first

    def follow(self, stop: threading.Event) -> None:
        """Compiles the model, then looks at the registry again and again until `stop` is set."""
        warm_up(self.current.model)
        self.is_warm = True
        log.info("serve: version %s is ready", self.current.number)
        while not stop.wait(FOLLOW_SECONDS):
            self.update()

    def update(self) -> None:
        """Loads the champion, if it is another version; if that fails, the old one stays."""
        problem = None
        try:
            key = _key(versions.find_champion())
            if key != (self.current.number, self.current.package):
                self._replace(self._load(key))
        except PipelineError as error:
            problem = str(error)
        except Exception as error:  # whatever is wrong with a version, the old one answers
            log.exception("serve: the champion cannot be used")
            problem = type(error).__name__
        if problem and problem != self.problem:
            log.warning("serve: version %s goes on answering: %s", self.current.number, problem)
        self.problem = problem

    def _load(self, key: Key) -> LoadedVersion:
        """The champion, checked; from memory if it is kept. Raises: PipelineError."""
        kept = {one.number: one for one in self._kept if (one.number, one.package) == key}
        model, number = versions.load_champion({name: one.model for name, one in kept.items()})
        if number in kept:
            return kept[number]
        warm_up(model)
        return _loaded(model, number, key)

    def _replace(self, loaded: LoadedVersion) -> None:
        log.info("serve: version %s answers in place of %s", loaded.number, self.current.number)
        self._kept = [one for one in self._kept if one is not loaded][1 - KEPT_VERSIONS :]
        self._kept.append(loaded)
        self.current = loaded
        self.reloads += 1


def served_champion() -> ServedChampion:
    """The champion of the registry. Raises: PipelineError."""
    model, number = versions.load_champion()
    return ServedChampion(_loaded(model, number, _key(versions.find_champion())))


def _key(version: Version | None) -> Key:
    return (version.number, version.tags.get(PACKAGE_TAG)) if version else ("", None)


def _loaded(model: Any, number: str, key: Key) -> LoadedVersion:
    """The version, without its hash if the alias has moved meanwhile; then it is loaded again."""
    return LoadedVersion(model, number, key[1] if key[0] == number else None)


def warm_up(model: Any) -> None:
    """Labels messages of each width, alone and in a batch, so that all shapes are compiled."""
    longest = min(window_length(model), WARM_UP_LENGTHS[-1])
    for length in [*(length for length in WARM_UP_LENGTHS if length < longest), longest]:
        text = WARM_UP_CHARACTER * length
        label_messages([text], model)
        label_messages([text, text], model)
