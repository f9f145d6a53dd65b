"""Every model, its data and what was measured have a view for notebooks, which costs no pass over data."""

import polars as pl
import pytest

import cofactor as cf
import zoo
from cofactor.data.log import Log
from cofactor.evaluation.measure import measure


def view(shown):
    html = shown._repr_html_()
    assert html.startswith('<div class="cofactor-view">'), f"{shown!r} fell back to its text"
    return html


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("u,i,t,note\n1,<b>,2024-01-01,x\n1,b,2024-01-02,x\n2,b,2024-01-03,y\n3,b,2024-01-04,y\n")
    return path


def events(log):
    return cf.read_events(log, user="u", item="i", time="t")


@pytest.mark.parametrize("name", zoo.NAMES)
def test_models_fitted_or_not(name, interactions):
    model = zoo.make(name)
    assert "not fitted" in view(model)
    data = cf.Ratings.of(interactions) if isinstance(model, cf.RatingModel) else interactions
    html = view(model.fit(data))
    assert f"{interactions.n_users:,} users, {interactions.n_items:,} items" in html
    assert "not fitted" not in html
    for learned in model._learned():
        assert f"<td>{learned}</td>" in html


def test_parameters_that_are_no_defaults_stand_out():
    html = view(cf.ImplicitALS(factors=7))
    assert '<tr class="cofactor-strong"><td>factors</td><td>7</td></tr>' in html
    assert "<tr><td>seed</td><td>0</td></tr>" in html


def test_events(log):
    read = events(log)
    html = view(read)
    assert "<td>4</td>" in html
    assert "2024-01-01 00:00:00 to 2024-01-04" in html
    assert "<td>note</td><td>String</td>" in html


def test_showing_events_and_splits_costs_no_pass(log, monkeypatch):
    split = cf.split.by_time(events(log), "2d")
    monkeypatch.setattr(pl.LazyFrame, "collect", lambda *args, **kwargs: pytest.fail("a pass over the log"))
    monkeypatch.setattr(Log, "n_events", property(lambda self: pytest.fail("counted")))
    assert view(split).count("not counted yet") == 2


def test_a_split_tells_what_is_unknown_once_it_was_counted(log):
    split = cf.split.by_time(events(log), "2d")
    assert "unknown to train" not in view(split)
    assert str(split.unknown) in view(split)


def test_a_log_whose_file_is_gone_is_shown(log):
    read = events(log)
    log.unlink()
    assert "<td>user</td><td>u</td>" in view(read)


def test_interactions_and_ratings(log):
    x = events(log).interactions()
    assert "&lt;b&gt;" in view(x)
    assert "3 (Int64): 1, 2, 3" in view(x)
    table = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7], "rating": [4.5, 0.5, 3.0]})
    ratings = cf.Ratings.from_frame(table)
    assert "0.5 to 4.5" in view(ratings)
    assert "in steps of" not in view(ratings)  # nobody has asked yet
    assert ratings.step == 0.5
    assert "in steps of 0.5" in view(ratings)
    assert "1 to 9, as declared" in view(
        cf.Ratings.from_frame(table.with_columns(pl.lit(3).alias("rating")), scale=(1, 9))
    )


def test_measurements(interactions):
    model = cf.Popular().fit(interactions)
    test = interactions.to_frame().head(50)
    found = measure(model, test, ["recall@10", "coverage@10"], exclude_seen=False)
    html = view(found)
    assert f"{found.values['recall@10'].mean():.4f}" in html
    assert f"<td>coverage@10</td><td>{found.values['coverage@10']:.4f}</td><td></td>" in html


def test_studies(interactions):
    study = cf.tune(cf.Popular(), interactions, space={"by": ["users", "weight"]}, method="grid")
    html = view(study)
    assert f"best {study.metric} {study.best_value:.4f}" in html
    assert "2 complete" in html
    assert f"<td>by</td><td>{study.best_params['by']!r}</td>".replace("'", "&#39;") in html


def test_what_was_decided(interactions, shop, tmp_path):
    train, test = cf.split.by_time(shop, "28d")
    models = cf.Popular().fit(train.interactions()), cf.Random(seed=1).fit(train.interactions())
    decision = cf.gate(*models, test.pairs(), exclude_seen=False)
    assert "do not promote" in view(decision)
    assert f"{decision.difference:+.5g}" in view(decision)
    found = cf.check_leaks(*cf.split.random(shop, 0.2))
    assert "user_order" in view(found)
    assert f"{found.table.filter(check='user_order')['found'].item():,}" in view(found)
    best = cf.best_model(interactions, 1e-6, progress=False)
    assert f"{best.leaderboard['ndcg@10'][0]:.4f}" in view(best)
    assert '<tr class="cofactor-strong"><td>popular</td>' in view(best)


@pytest.mark.filterwarnings("ignore::cofactor.CofactorWarning")
def test_a_run(shop, tmp_path):
    shop.collect().write_parquet(tmp_path / "log.parquet")
    text = '[data]\npath = "log.parquet"\ntime = "time"\n[split]\nkind = "by_time"\ntest = "28d"\n'
    text += '[evaluate]\nmetrics = ["recall@5"]\n[models.all]\nclass = "Popular"\n'
    (tmp_path / "e.toml").write_text(text)
    result = cf.run_experiment(tmp_path / "e.toml", progress=False)
    assert f"<td>all</td><td>{result.table['recall@5'].item():.4f}</td>" in view(result)
