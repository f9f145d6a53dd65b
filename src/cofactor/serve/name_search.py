"""Finding items by what people type: words by their beginnings, small typing errors forgiven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.ids import IdMap
    from cofactor.kernels.arrays import Rows

__all__ = ["NameSearch", "beginning_distances"]

_MOST_LETTERS = 400  # of what is typed
_MOST_WORDS = 12
_LONGEST_WORD = 24  # letters; what is longer is compared by its beginning
_FORGIVING = ((8, 2), (4, 1))  # from how many letters on how many may be wrong


class NameSearch:
    """An index of the words of names.

    Finding costs a binary search for each word typed and a pass over the names; forgiving errors costs a pass over all
    different words for every letter typed.

    Parameters
    ----------
    names : (n_items,) pl.Series of str, optional
        None where items have no names: they are found by their ids alone.
    items : IdMap
    """

    def __init__(self, names: pl.Series | None, items: IdMap) -> None:
        n = len(items)
        self._items = items
        if names is None:
            binary = items.dtype == pl.Binary
            names = pl.Series([None] * n, dtype=pl.String) if binary else items.ids.cast(pl.String)
        self._lengths = names.str.len_chars().fill_null(0).to_numpy()
        words = _words(names).fill_null([])
        entries = words.to_frame("word").with_row_index("row").explode("word").drop_nulls()
        vocabulary = entries["word"].unique().sort()
        numbered = vocabulary.to_frame("word").with_row_index("number")
        numbers = entries.join(numbered, on="word", how="left", maintain_order="left")["number"].to_numpy()
        rows = entries["row"].to_numpy()
        # Each word of each item once, by word and then by item; the entries are in the order of the items.
        pairs = np.sort(numbers.astype(np.int64) * n + rows)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        self._rows = (pairs % max(n, 1)).astype(np.int32)
        self._indptr = np.searchsorted(pairs, np.arange(len(vocabulary) + 1) * n)
        self._words = np.array(vocabulary.to_list(), dtype=f"U{_LONGEST_WORD}")
        self._first_words = np.full(n, -1, np.int32)
        self._first_words[rows[::-1]] = numbers[::-1]  # of several, the one written last: the first

    def find(
        self,
        text: str,
        k: int = 10,
        *,
        among: NDArray[np.bool_] | None = None,
        popularity: ArrayLike | None = None,
    ) -> Rows:
        """Rows of the items that fit best, (at most k,) int32, best first; ``among`` are those that may be found.

        An item that has the text as its id is the first. Then come those whose names hold most of the typed words as
        they are, not only as the beginnings of their own; then the popular ones, those that begin with the first word,
        and short names.

        Raises
        ------
        ParameterError
            ``text`` is no text or too long, or k is below 1.
        """
        check_type("text", text, str, "a text")
        check_at_least("k", k, 1, whole=True)
        words = _words(pl.Series([text[:_MOST_LETTERS]]))[0].to_list()
        rows = self._ranked(list(dict.fromkeys(words))[:_MOST_WORDS], among, popularity) if words else []
        by_id = [row for row in self._by_id(text.strip()) if among is None or among[row]]
        return np.array([*by_id, *(row for row in rows[: k + 1] if row not in by_id)], np.int32)[:k]

    def _by_id(self, text: str) -> list[int]:
        if self._items.dtype == pl.Binary or (self._items.dtype.is_integer() and not _is_number(text)):
            return []
        given: list[int] | list[str] = [int(text)] if self._items.dtype.is_integer() else [text]
        return [row for row in self._items.rows(given).tolist() if row >= 0]

    def _ranked(self, words: list[str], among: NDArray[np.bool_] | None, popularity: ArrayLike | None) -> list[int]:
        n = len(self._lengths)
        if not len(self._rows):
            return []
        popular = np.zeros(n) if popularity is None else np.asarray(popularity, np.float64)
        whole, found = np.zeros(n, np.int32), np.ones(n, bool) if among is None else among.copy()
        begins = np.zeros(n, bool)
        for number, word in enumerate(words):
            has = np.zeros(n, bool)
            for start, stop in self._spans(word):
                has[self._rows[self._indptr[start] : self._indptr[stop]]] = True
                if number == 0:
                    begins |= (self._first_words >= start) & (self._first_words < stop)
            found &= has
            at = int(np.searchsorted(self._words, word))
            if at < len(self._words) and self._words[at] == word:
                whole[self._rows[self._indptr[at] : self._indptr[at + 1]]] += 1
        rows = np.flatnonzero(found)
        order = np.lexsort((rows, self._lengths[rows], ~begins[rows], -popular[rows], -whole[rows]))
        ranked: list[int] = rows[order].tolist()
        return ranked

    def _spans(self, word: str) -> list[tuple[int, int]]:
        """Where the words lie that begin with ``word``, or nearly so where none does."""
        first = int(np.searchsorted(self._words, word))
        last = int(np.searchsorted(self._words, word + "\U0010ffff"))
        if last > first:
            return [(first, last)]
        wrong = next((n for least, n in _FORGIVING if len(word) >= least), 0)
        if not wrong:
            return []
        distances = beginning_distances(word, self._words)
        least = int(distances.min())
        return [(int(at), int(at) + 1) for at in np.flatnonzero(distances == least)] if least <= wrong else []


def _words(texts: pl.Series) -> pl.Series:
    """The words of each text, in small letters without accents, and cut where they are long."""
    plain = texts.str.to_lowercase().str.normalize("NFKD").str.replace_all(r"\p{M}", "")
    return plain.str.extract_all(r"\w+").list.eval(pl.element().str.head(_LONGEST_WORD))


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19  # what fits into 64 bits


def beginning_distances(word: str, words: NDArray[np.str_]) -> NDArray[np.int32]:
    """How many letters must be changed, added, left out or swapped until each word begins as ``word``.

    The distance of Damerau and Levenshtein (neighbours swapped once) to the closest beginning of each word, for all
    words at a time.

    Parameters
    ----------
    word : str
    words : (n,) str

    Returns
    -------
    (n,) int32
    """
    width = len(word) + 3
    letters = words.astype(f"U{width}").view(np.uint32).reshape(len(words), width).T
    before = np.zeros((width + 1, len(words)), np.int32)
    last = np.tile(np.arange(width + 1, dtype=np.int32)[:, None], (1, len(words)))
    for at, letter in enumerate(word):
        now = np.empty_like(last)
        now[0] = at + 1
        other = np.not_equal(letters, ord(letter))
        for place in range(width):
            best = np.minimum(last[place] + other[place], np.minimum(last[place + 1], now[place]) + 1)
            if at and place:
                swapped = ~other[place - 1] & np.equal(letters[place], ord(word[at - 1]))
                best = np.where(swapped, np.minimum(best, before[place - 1] + 1), best)
            now[place + 1] = best
        before, last = last, now
    nearest: NDArray[np.int32] = last.min(axis=0)
    return nearest
