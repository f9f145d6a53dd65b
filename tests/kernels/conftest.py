"""Every kernel test runs on every device, and on every level of the CPU where it asks for ``cpu_level``.

Those marked ``cpu_only`` say nothing of other devices, whatever they are: they would be the same test again.
"""

import pytest

from cofactor.kernels import DEVICES, native
from device import in_torch, kernels

# What PyTorch has, and the tests of it that only hold where every digit is the same in any batch, on any number of
# threads, that are about the arrays of the CPU, or that take long for what others test as well.
IN_TORCH = {
    "test_als",
    "test_fm",
    "test_fm_relations",
    "test_gramian",
    "test_item_pairs",
    "test_linear_topk",
    "test_neighbours",
    "test_pairwise",
    "test_products",
    "test_ranks",
    "test_shared_negatives",
    "test_slim",
    "test_topk",
}
OF_THE_CPU = {
    "test_a_history_longer_than_the_arena_is_streamed",
    "test_a_query_gets_the_same_list_alone_and_in_any_batch",
    "test_any_memory_order_is_read",
    "test_bounds_lose_nothing",
    "test_broken_rows_are_refused",
    "test_codes_of_items_that_miss_all_that_matters",
    "test_codes_of_queries_that_miss_all_that_matters",
    "test_columns_out_of_order_are_refused",
    "test_draws_have_the_moments_of_the_conditional",
    "test_every_condition_holds_to_the_tolerance",
    "test_groups_of_long_histories",
    "test_item_counts_around_panels_and_chunks",
    "test_long_histories_give_the_same_whoever_works_on_them",
    "test_ranges_and_threads_change_nothing",
    "test_more_rows_than_16_bits_tell",
    "test_more_than_two_to_the_31_elements",
    "test_more_than_two_to_the_31_solved_elements",
    "test_results_do_not_depend_on_threads_nor_on_the_rows_beside",
    "test_scores_closer_together_than_the_bounds_are_to_the_scores",
    "test_sampling_parameters_and_ratings_in_turn_gives_the_prior_back",
    "test_the_ranks_are_those_of_the_lists",
    "test_threads_order_and_company_change_nothing",
    "test_without_locks_rows_of_their_own",
    "test_where_vectors_start_in_memory_does_not_matter",
}


def pytest_generate_tests(metafunc):
    if "where" in metafunc.fixturenames:
        levels = native.LEVELS if "cpu_level" in metafunc.fixturenames else ("cpu",)
        module, test = metafunc.module.__name__.split(".")[-1], metafunc.function.__name__
        has = module in IN_TORCH and test not in OF_THE_CPU
        others = [d for d in DEVICES if d != "cpu" and (d not in ("torch", "cuda") or (has and d in in_torch()))]
        others = [] if metafunc.definition.get_closest_marker("cpu_only") else others
        metafunc.parametrize("where", [*levels, *others], indirect=True)


@pytest.fixture(autouse=True)
def where(request):
    """The device, or the level of the CPU, that the test is about."""
    name, before = request.param, native.level
    if name in native.LEVELS and name not in native.supported_levels():
        pytest.skip(f"this CPU cannot run the {name} kernels")
    if name in native.LEVELS:
        native.use_level(name)
    kernels.device = name if name in DEVICES else "cpu"
    yield name
    kernels.device = "cpu"
    native.use_level(before)


@pytest.fixture
def cpu_level(where):
    """The level of the CPU; on other devices the one that is in use anyway."""
    return native.level
