"""The champion is loaded when first asked for, and the page goes on without one."""

import threading

from pipeline.core.errors import PipelineError
from pipeline.serving.review.background_champion import LOADING, BackgroundChampion
from tests.harness.errors import error_of


def loaded(champion):
    """Waits until the champion is there, or until it is known that there is none."""
    champion.problem()
    champion._thread.join()
    return champion


def test_nothing_is_loaded_before_the_first_question():
    found = threading.Event()
    champion = BackgroundChampion(found.set)
    assert not found.is_set()
    loaded(champion)
    assert found.is_set()


def test_loading_champion_says_so():
    may_go_on = threading.Event()

    def find():
        may_go_on.wait(60)
        return lambda text: {"text": text}

    champion = BackgroundChampion(find)
    assert champion.problem() == LOADING
    assert error_of(champion.answer, "WIN") == LOADING
    may_go_on.set()
    assert loaded(champion).problem() == ""
    assert champion.answer("WIN") == {"text": "WIN"}


def test_missing_champion_is_one_line():
    def find():
        raise PipelineError("no champion yet; run `make repro`")

    assert loaded(BackgroundChampion(find)).problem() == "no champion yet; run `make repro`"


def test_error_of_a_library_is_named_without_its_words():
    def find():
        raise ValueError("secret")

    assert loaded(BackgroundChampion(find)).problem() == "no model: ValueError"
