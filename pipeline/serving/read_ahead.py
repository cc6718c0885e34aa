"""Computes the next item of an iterator while the present one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items in their order, each computed in a thread while the caller uses the one before.

    An error in an item is raised in its place, after the items before it. A caller that stops early
    waits for the item that is being computed, so none may wait for input that need not come.

    Args:
        items: none of them is None.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, items, None)
        while (present := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield present
