import numpy as np
import polars as pl
import pytest

import cofactor as cf

TABLE = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 8], "rating": [1.0, 2.0, 6.0]})


def test_mean_and_spread():
    model = cf.GlobalMean().fit(TABLE)
    assert (model.mean_, model.std_) == (3, pytest.approx(np.std([1, 2, 6])))
    assert model.predict(TABLE)["rating"].to_list() == [3, 3, 3]
    np.testing.assert_allclose(model.predict(TABLE)["std"], model.std_)


def test_items_come_in_their_order():
    assert cf.GlobalMean().fit(TABLE).recommend([2], exclude_seen=False)["item_id"].to_list() == [7, 8]
