// Exact top-k for Python.
#include "bindings.hpp"
#include "topk/bind_filters.hpp"
#include "topk/vectors.hpp"

namespace {

void top_k(InMatrix queries, InMatrix items, std::optional<In1<float>> bias,
           std::optional<In1<std::int64_t>> excluded_indptr, std::optional<In1<std::int32_t>> excluded_indices,
           std::optional<In1<std::int32_t>> allowed, OutMatrix<std::int32_t> best_items, OutMatrix<float> best_scores,
           int threads) {
    const std::int64_t n = queries.shape(0), n_items = items.shape(0);
    check(queries.shape(1) == items.shape(1), "queries and items must have the same number of factors");
    check(!bias || bias->size() == items.shape(0), "bias must have one value per item");
    const Filters filter =
        filters(n, n_items, excluded_indptr, excluded_indices, allowed, "allowed must hold ascending item rows");
    const cofactor::Ranking out = ranking(n, best_items, best_scores);
    const cofactor::TopKQuery query{queries.data(),
                                    n,
                                    items.data(),
                                    n_items,
                                    static_cast<std::ptrdiff_t>(items.shape(1)),
                                    bias ? view(*bias) : std::span<const float>{},
                                    filter.exclude(),
                                    filter.allowed,
                                    filter.restricted};
    run(threads, filter.exclude(), n_items, [&](cofactor::Interrupt& interrupt) {
        cofactor::top_k(query, {out.columns, out.scores, out.k}, threads, interrupt);
    });
}

}  // namespace

void bind_topk(nb::module_& m) {
    m.def("top_k", &top_k, "queries"_a, "items"_a, "bias"_a.none(), "excluded_indptr"_a.none(),
          "excluded_indices"_a.none(), "allowed"_a.none(), "best_items"_a.noconvert(), "best_scores"_a.noconvert(),
          "threads"_a);
}
