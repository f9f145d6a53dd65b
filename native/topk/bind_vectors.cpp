// Exact top-k for Python.
#include "bindings.hpp"
#include "topk/vectors.hpp"

namespace {

void top_k(InMatrix queries, InMatrix items, std::optional<In1<float>> bias,
           std::optional<In1<std::int64_t>> excluded_indptr, std::optional<In1<std::int32_t>> excluded_indices,
           std::optional<In1<std::int32_t>> allowed, OutMatrix<std::int32_t> best_items, OutMatrix<float> best_scores,
           int threads) {
    const std::int64_t n_items = items.shape(0);
    check(queries.shape(1) == items.shape(1), "queries and items must have the same number of factors");
    check(best_items.shape(0) == queries.shape(0) && best_scores.shape(0) == queries.shape(0),
          "outputs must have one row per query");
    check(best_items.shape(1) == best_scores.shape(1) && best_items.shape(1) >= 1, "outputs must have k >= 1 columns");
    check(!bias || bias->size() == items.shape(0), "bias must have one value per item");
    check(excluded_indptr.has_value() == excluded_indices.has_value(), "excluded needs both indptr and indices");
    cofactor::Csr excluded{};
    if (excluded_indptr) {
        excluded = csr(*excluded_indptr, *excluded_indices, nullptr);
        check(excluded.n_rows() == static_cast<std::int64_t>(queries.shape(0)), "excluded must have one row per query");
    }
    if (allowed) {
        const std::span<const std::int32_t> a = view(*allowed);
        for (std::size_t i = 0; i < a.size(); ++i) {
            check(a[i] >= 0 && a[i] < n_items && (i == 0 || a[i - 1] < a[i]), "allowed must hold ascending item rows");
        }
    }
    const cofactor::TopKQuery query{queries.data(),
                                    static_cast<std::int64_t>(queries.shape(0)),
                                    items.data(),
                                    n_items,
                                    static_cast<std::ptrdiff_t>(items.shape(1)),
                                    bias ? view(*bias) : std::span<const float>{},
                                    excluded_indptr ? &excluded : nullptr,
                                    allowed ? view(*allowed) : std::span<const std::int32_t>{},
                                    allowed.has_value()};
    run(threads, excluded_indptr ? &excluded : nullptr, n_items, [&](cofactor::Interrupt& interrupt) {
        cofactor::top_k(query, {best_items.data(), best_scores.data(), static_cast<std::int64_t>(best_items.shape(1))},
                        threads, interrupt);
    });
}

}  // namespace

void bind_topk(nb::module_& m) {
    m.def("top_k", &top_k, "queries"_a, "items"_a, "bias"_a.none(), "excluded_indptr"_a.none(),
          "excluded_indices"_a.none(), "allowed"_a.none(), "best_items"_a.noconvert(), "best_scores"_a.noconvert(),
          "threads"_a);
}
