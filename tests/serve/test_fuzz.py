"""Requests made up from the OpenAPI description: no crash, and nothing but what the description tells."""

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import cofactor as cf
from cofactor.serve.openapi import ROUTES
from cofactor.serve.settings import Settings, make_app

schemathesis = pytest.importorskip("schemathesis", reason="pip install 'cofactor[dev]' brings schemathesis")
answers = pytest.importorskip("schemathesis.specs.openapi.checks")


@pytest.fixture(scope="module")
def description(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    x = cf.datasets.synthetic(n_users=30, n_items=20, n_interactions=300, factors=4, seed=0)
    cf.ImplicitALS(4, iterations=2, seed=0).fit(x).save(folder / "model")
    pl.DataFrame({"item_id": range(20), "name": [f"item {i}" for i in range(20)]}).write_parquet(
        folder / "items.parquet"
    )
    app = make_app(
        Settings({"model": str(folder / "model")}, items=str(folder / "items.parquet"), store=str(folder / "events.db"))
    )
    app.service.ready = True
    app._stop = None  # the client tells of an end after each request
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    app.service.close()


MADE = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("route", "mode"),
    [(route, "positive") for route in ROUTES] + [(route, "negative") for route in ROUTES if route.body is not None],
    ids=lambda given: given if isinstance(given, str) else f"{given.method} {given.path}",
)
def test_requests_made_up_from_the_description(description, route, mode):
    operation = description[route.path][route.method.upper()]
    wanted = schemathesis.GenerationMode(mode)
    checks = (answers.status_code_conformance, answers.content_type_conformance, answers.response_schema_conformance)

    @MADE
    @given(case=operation.as_strategy(generation_mode=wanted))
    def every(case):
        answer = case.call()
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, checks=[schemathesis.checks.not_a_server_error, *checks])

    every()
