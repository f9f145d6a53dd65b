import polars as pl

from cofactor.report.tables import readable_leaderboard

BOARD = pl.DataFrame(
    {
        "model": ["als", "popular"],
        "ndcg@10": [0.25, 0.125],
        "ndcg@10_low": [0.24, 0.1],
        "ndcg@10_high": [0.26, 0.15],
        "coverage@10": [0.5, 0.1],
        "coverage@10_low": [None, None],
        "coverage@10_high": [None, None],
        "fit_seconds": [1.234, 0.0],
    },
    schema_overrides={"coverage@10_low": pl.Float64, "coverage@10_high": pl.Float64},
)


def test_readable_leaderboard():
    found = readable_leaderboard(BOARD)
    assert found.columns == ["model", "ndcg@10", "coverage@10", "fit s"]
    assert found.row(0) == ("als", "0.2500 (0.2400-0.2600)", "0.5000", "1.23")
    compact = readable_leaderboard(BOARD.with_columns(recommend_seconds=0.1), compact=True)
    assert compact.row(0) == ("als", "0.250 ±0.010", "0.500", "1.23")
    plain = readable_leaderboard(BOARD.select("model", "ndcg@10"))
    assert plain["ndcg@10"].to_list() == ["0.2500", "0.1250"]
