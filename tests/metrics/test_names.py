import pytest

from cofactor.errors import ParameterError
from cofactor.metrics import available, parse, parse_all


def test_a_name_is_a_family_and_a_k():
    metric = parse("truncated_recall@20")
    assert (metric.name, metric.family, metric.k, metric.per_user) == (
        "truncated_recall@20",
        "truncated_recall",
        20,
        True,
    )
    assert parse("auc").k is None
    assert not parse("coverage@5").per_user


def test_all_names_can_be_read():
    assert [parse(name.replace("@k", "@3")).name.replace("@3", "@k") for name in available()] == available()


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("recal@10", "recall@10"),
        ("NDCG@10", "ndcg@10"),
        ("ngcd@10", "ndcg@10"),
        ("hit-rate@5", "hit_rate@5"),
        ("acu", "auc"),
        ("rsme@10", "rmse"),
        ("recal", "recall@k"),
        ("recal@ten", "recall@k"),
    ],
)
def test_an_unknown_name_is_told_a_close_one_and_all(name, close):
    with pytest.raises(ParameterError, match=rf"{name}.*did you mean {close}\?.*recall@k.*coverage@k"):
        parse(name)


def test_an_unknown_name_with_nothing_close():
    with pytest.raises(ParameterError, match=r"'zzz' is unknown\. There are: recall@k"):
        parse("zzz")


def test_something_that_is_no_text():
    with pytest.raises(ParameterError, match=r"the name of a metric is a text such as 'recall@10', got 10"):
        parse(10)


@pytest.mark.parametrize("name", ["recall", "recall@", "recall@0", "recall@-1", "recall@1.5", "recall@x", "recall@²"])
def test_k_is_a_whole_number_from_1(name):
    with pytest.raises(ParameterError, match=rf"{name}.*k >= 1.*recall@10"):
        parse(name)


def test_auc_takes_no_k():
    with pytest.raises(ParameterError, match=r"'auc@10'.*complete lists, write 'auc'"):
        parse("auc@10")


def test_r_precision_takes_no_k():
    with pytest.raises(ParameterError, match=r"as many places as the user has relevant items; write 'r_precision'"):
        parse("r_precision@5")
    assert parse("r_precision").needs.places > 2**30


def test_mrr_without_k_is_of_all_places():
    assert (parse("mrr").k, parse("mrr@3").k) == (None, 3)
    assert [name for name in available() if name.startswith("mrr")] == ["mrr@k", "mrr"]
    with pytest.raises(ParameterError, match=r"'mrr@' needs a whole number k >= 1"):
        parse("mrr@")


def test_several():
    assert [metric.name for metric in parse_all(["auc", "mrr@3"])] == ["auc", "mrr@3"]
    assert [metric.name for metric in parse_all("mrr@3")] == ["mrr@3"]
    with pytest.raises(ParameterError, match=r"more than once: mrr@3"):
        parse_all(["mrr@3", "auc", "mrr@3"])
    with pytest.raises(ParameterError, match="none is given"):
        parse_all([])
