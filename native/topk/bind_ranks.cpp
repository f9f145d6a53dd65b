// Places of wanted items in complete lists, for Python.
#include "bindings.hpp"
#include "topk/bind_filters.hpp"
#include "topk/ranks.hpp"

namespace {

void ranks(InMatrix queries, InMatrix items, In1<std::int64_t> wanted_indptr, In1<std::int32_t> wanted_indices,
           std::optional<In1<std::int64_t>> excluded_indptr, std::optional<In1<std::int32_t>> excluded_indices,
           std::optional<In1<std::int32_t>> allowed, Out1<std::int32_t> rank, Out1<double> middle,
           Out1<std::int64_t> n_listed, int threads) {
    const std::int64_t n = queries.shape(0), n_items = items.shape(0);
    check(queries.shape(1) == items.shape(1), "queries and items must have the same number of factors");
    check(items.shape(1) >= 1, "vectors must have a factor");
    const cofactor::Csr wanted = csr(wanted_indptr, wanted_indices, nullptr);
    check(wanted.n_rows() == n, "wanted must have one row per query");
    check(rank.size() == wanted.indices.size() && middle.size() == wanted.indices.size(),
          "rank and middle must have one value per wanted item");
    check(static_cast<std::int64_t>(n_listed.size()) == n, "n_listed must have one value per query");
    const Filters filter =
        filters(n, n_items, excluded_indptr, excluded_indices, allowed, "allowed must hold ascending item rows");
    const cofactor::TopKQuery query{queries.data(),
                                    n,
                                    items.data(),
                                    n_items,
                                    static_cast<std::ptrdiff_t>(items.shape(1)),
                                    {},
                                    filter.exclude(),
                                    filter.allowed,
                                    filter.restricted};
    bool fine = true;
    run(threads, filter.exclude(), n_items, [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::is_ascending(wanted, n_items, threads, interrupt);
        if (fine) cofactor::ranks(query, wanted, {rank.data(), middle.data(), n_listed.data()}, threads, interrupt);
    });
    check(fine, "the items of wanted must be ascending and in range");
}

}  // namespace

void bind_ranks(nb::module_& m) {
    m.def("ranks", &ranks, "queries"_a, "items"_a, "wanted_indptr"_a, "wanted_indices"_a, "excluded_indptr"_a.none(),
          "excluded_indices"_a.none(), "allowed"_a.none(), "rank"_a.noconvert(), "middle"_a.noconvert(),
          "n_listed"_a.noconvert(), "threads"_a);
}
