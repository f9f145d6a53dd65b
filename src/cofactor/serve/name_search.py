"""Finding items by what people type: words by their beginnings, small typing errors forgiven."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap
    from cofactor.kernels.arrays import Rows

__all__ = ["NameSearch"]

_MOST_WORDS = 12
_LONGEST_WORD = 24  # letters; what is longer is compared by its beginning
_FORGIVING = ((8, 2), (4, 1))  # from how many letters on how many may be wrong
_WORD = re.compile(r"\w+")


class NameSearch:
    """An index of the words of names.

    Finding costs a binary search for each word typed and work in the number of names that have it; forgiving errors costs
    a pass over all different words, about 20 ns each for every letter typed.

    Parameters
    ----------
    names : (n_items,) pl.Series of str, optional
        None where items have no names: they are found by their ids alone.
    items : IdMap
    popularity : (n_items,) number, optional
        The order of items that match equally well; without it, short names come first.
    """

    def __init__(self, names: pl.Series | None, items: IdMap, popularity: NDArray[np.generic] | None = None) -> None:
        n = len(items)
        ids = (
            items.ids.cast(pl.String, strict=False)
            if items.dtype != pl.Binary
            else pl.Series([None] * n, dtype=pl.String)
        )
        self._ids = {folded(one): row for row, one in enumerate(ids.to_list()) if one is not None}
        texts = (ids if names is None else pl.Series(names).cast(pl.String)).fill_null("").to_list()
        folded_texts = [folded(one) for one in texts]
        self._lengths = np.fromiter(map(len, folded_texts), np.int64, n)
        self._first = np.array([one[:_LONGEST_WORD] for one in folded_texts] or [""], dtype=f"U{_LONGEST_WORD}")
        words: dict[str, list[int]] = {}
        for row, one in enumerate(folded_texts):
            for word in dict.fromkeys(_WORD.findall(one)):
                words.setdefault(word[:_LONGEST_WORD], []).append(row)
        vocabulary = sorted(words)
        self._words = np.array(vocabulary or [""], dtype=f"U{_LONGEST_WORD}")
        self._indptr = np.cumsum([0, *(len(words[word]) for word in vocabulary)])
        self._rows = np.array([row for word in vocabulary for row in words[word]], np.int32)
        self._popularity = np.zeros(n) if popularity is None else np.asarray(popularity, np.float64)

    def find(self, text: str, k: int = 10) -> Rows:
        """Rows of the items that fit best, (at most k,) int32, best first.

        Raises
        ------
        ParameterError
            ``text`` is no text, or k is below 1.
        """
        check_type("text", text, str, "a text")
        check_at_least("k", k, 1, whole=True)
        typed = folded(text).strip()
        words = [word[:_LONGEST_WORD] for word in dict.fromkeys(_WORD.findall(typed))][:_MOST_WORDS]
        by_id = [self._ids[typed]] if typed in self._ids else []
        rows = self._ranked(words, typed, k) if words else np.empty(0, np.int32)
        rows = np.concatenate([np.array(by_id, np.int32), rows[~np.isin(rows, by_id)]])
        return rows[:k]

    def _ranked(self, words: list[str], typed: str, k: int) -> Rows:
        n = len(self._lengths)
        whole, found = np.zeros(n, np.int32), np.ones(n, bool)
        for word in words:
            spans = self._spans(word)
            has = np.zeros(n, bool)
            for start, stop in spans:
                has[self._rows[self._indptr[start] : self._indptr[stop]]] = True
            found &= has
            at = int(np.searchsorted(self._words, word))
            if at < len(self._words) and self._words[at] == word and len(self._rows):
                whole[self._rows[self._indptr[at] : self._indptr[at + 1]]] += 1
        rows = np.flatnonzero(found)
        begins = np.char.startswith(self._first[rows], words[0]) if len(rows) else np.empty(0, bool)
        order = np.lexsort((rows, self._lengths[rows], ~begins, -self._popularity[rows], -whole[rows]))
        return rows[order[:k]].astype(np.int32)

    def _spans(self, word: str) -> list[tuple[int, int]]:
        """Where the words lie that begin with ``word``, or nearly so where none does."""
        if not len(self._rows):
            return []
        first = int(np.searchsorted(self._words, word))
        last = int(np.searchsorted(self._words, word + "\U0010ffff"))
        if last > first:
            return [(first, last)]
        wrong = next((n for least, n in _FORGIVING if len(word) >= least), 0)
        if not wrong:
            return []
        distances = beginning_distances(word, self._words)
        least = int(distances.min())
        close = np.flatnonzero(distances == least) if least <= wrong else []
        return [(int(at), int(at) + 1) for at in close]


def folded(text: str) -> str:
    """Small letters without accents, as they are compared."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def beginning_distances(word: str, words: NDArray[np.str_]) -> NDArray[np.int32]:
    """How many letters have to be changed, added, left out or swapped until a word begins as ``word``, (len(words),) int32.

    The distance of Damerau and Levenshtein (neighbours swapped once) to the closest beginning of each word, all words at a
    time.
    """
    width = min(len(word) + 3, _LONGEST_WORD)
    letters = words.astype(f"U{width}").view(np.uint32).reshape(len(words), width)
    before = np.zeros((width + 1, len(words)), np.int32)
    last = np.tile(np.arange(width + 1, dtype=np.int32)[:, None], (1, len(words)))
    for at, letter in enumerate(word):
        now = np.empty_like(last)
        now[0] = at + 1
        same = ord(letter) == letters.T
        for place in range(width):
            best = np.minimum(last[place] + ~same[place], np.minimum(last[place + 1], now[place]) + 1)
            if at and place:
                swapped = same[place - 1] & (letters[:, place] == ord(word[at - 1]))
                best = np.where(swapped, np.minimum(best, before[place - 1] + 1), best)
            now[place + 1] = best
        before, last = last, now
    return last.min(axis=0)
