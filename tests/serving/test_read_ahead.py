"""The next item is computed while the present one is used; order and errors stay."""

import threading

import pytest

from pipeline.serving.read_ahead import read_ahead


def test_items_keep_their_order():
    assert list(read_ahead(iter(range(1, 8)))) == [1, 2, 3, 4, 5, 6, 7]
    assert list(read_ahead(iter([]))) == []


def test_next_item_is_computed_while_the_present_one_is_used():
    second_began = threading.Event()

    def items():
        yield 1
        second_began.set()
        yield 2

    ahead = read_ahead(items())
    assert next(ahead) == 1
    assert second_began.wait(timeout=60)
    assert next(ahead) == 2


def test_no_item_after_the_next_is_computed():
    begun = []
    items = read_ahead(begun.append(n) or n for n in range(7))
    assert [next(items), next(items)] == [0, 1]
    items.close()  # waits for the item that is computed
    assert begun == [0, 1, 2]


def test_error_is_raised_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("row 3")

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="row 3"):
        next(ahead)


def test_no_thread_is_left_after_an_error_of_the_caller():
    before = threading.active_count()
    items = read_ahead(iter(range(7)))
    next(items)
    with pytest.raises(ZeroDivisionError):
        items.throw(ZeroDivisionError)
    assert threading.active_count() == before
