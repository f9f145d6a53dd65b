import pytest

import cofactor as cf


@pytest.fixture(scope="module")
def model(interactions):
    return cf.ImplicitALS(factors=4, iterations=2).fit(interactions)


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"
