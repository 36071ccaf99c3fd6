"""Lists: parse and format comma-separated ones; one or several values as a tuple."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featx.errors import SpecError


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One or several values as a tuple.

    Examples
    --------
    >>> as_tuple(3), as_tuple([1, 2])
    ((3,), (1, 2))
    """
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def parse_names(text: str | Iterable[Any]) -> list[str]:
    """Names in one or several comma-separated texts.

    Parameters
    ----------
    text : str or iterable of str

    Returns
    -------
    list of str

    Raises
    ------
    SpecError
        If a name is empty.

    Examples
    --------
    >>> parse_names("photo, sketch"), parse_names(["pool1,fc6", "fc7"])
    (['photo', 'sketch'], ['pool1', 'fc6', 'fc7'])
    """
    names = _split(text)
    if not all(names):
        raise SpecError(f"Expected names separated by commas, got {text!r}.")
    return names


def parse_integers(text: str | Iterable[Any], *, minimum: int = 0) -> list[int]:
    """Integers in one or several comma-separated texts.

    Parameters
    ----------
    text : str or iterable of str or int
    minimum : int, default=0

    Returns
    -------
    list of int

    Raises
    ------
    SpecError
        If one is not an integer, or is below the minimum.

    Examples
    --------
    >>> parse_integers("1, 2,5"), parse_integers([256, 64], minimum=1)
    ([1, 2, 5], [256, 64])
    """
    words = _split(text)
    if not all(word.isdecimal() and int(word) >= minimum for word in words):
        raise SpecError(
            f"Expected integers of at least {minimum}, separated by commas; got {text!r}."
        )
    return [int(word) for word in words]


def shorten_names(names: Iterable[Any], n_shown: int = 5) -> str:
    """The first names, separated by commas, and the number of the others.

    Parameters
    ----------
    names : iterable
    n_shown : int, default=5

    Examples
    --------
    >>> shorten_names("abcd", 2)
    'a, b and 2 more'
    """
    names = list(map(str, names))
    more = f" and {len(names) - n_shown:,} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more


def _split(text: str | Iterable[Any]) -> list[str]:
    texts = [text] if isinstance(text, str) else text
    return [word.strip() for item in texts for word in str(item).split(",")]
