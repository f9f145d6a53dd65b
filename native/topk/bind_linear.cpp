// Top-k of rows times item-to-item weights, and of scores at hand, for Python.
#include "bindings.hpp"
#include "topk/bind_filters.hpp"
#include "topk/linear.hpp"

namespace {

void linear_top_k_sparse(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                         In1<std::int64_t> weights_indptr, In1<std::int32_t> weights_indices, In1<float> weights_values,
                         std::int64_t n_columns, std::optional<In1<std::int64_t>> excluded_indptr,
                         std::optional<In1<std::int32_t>> excluded_indices, std::optional<In1<std::int32_t>> allowed,
                         OutMatrix<std::int32_t> best_columns, OutMatrix<float> best_scores, int threads) {
    const cofactor::Csr histories = csr(indptr, indices, &values);
    const cofactor::Csr weights = csr(weights_indptr, weights_indices, &weights_values);
    const Filters filter = filters(histories.n_rows(), n_columns, excluded_indptr, excluded_indices, allowed);
    const cofactor::Ranking out = ranking(histories.n_rows(), best_columns, best_scores);
    bool fine = true;
    run(threads, filter.exclude(), n_columns, [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::is_ascending(histories, weights.n_rows(), threads, interrupt) &&
               cofactor::reaches_columns(histories, weights, n_columns, threads, interrupt);
        if (fine) cofactor::linear_top_k(histories, weights, filter.choice(), out, threads, interrupt);
    });
    check(fine, "the columns of histories must be ascending and in range, those of weights in range");
}

void linear_top_k_dense(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values, InMatrix weights,
                        std::optional<In1<std::int64_t>> excluded_indptr,
                        std::optional<In1<std::int32_t>> excluded_indices, std::optional<In1<std::int32_t>> allowed,
                        OutMatrix<std::int32_t> best_columns, OutMatrix<float> best_scores, int threads) {
    const cofactor::Csr histories = csr(indptr, indices, &values);
    const std::int64_t m = weights.shape(0), n_columns = weights.shape(1);
    const Filters filter = filters(histories.n_rows(), n_columns, excluded_indptr, excluded_indices, allowed);
    const cofactor::Ranking out = ranking(histories.n_rows(), best_columns, best_scores);
    bool fine = true;
    run(threads, filter.exclude(), n_columns, [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::is_ascending(histories, m, threads, interrupt);
        if (fine) cofactor::linear_top_k(histories, weights.data(), m, filter.choice(), out, threads, interrupt);
    });
    check(fine, "the columns of histories must be ascending and in range");
}

void select_top_k(InMatrix scores, std::optional<In1<std::int64_t>> excluded_indptr,
                  std::optional<In1<std::int32_t>> excluded_indices, std::optional<In1<std::int32_t>> allowed,
                  OutMatrix<std::int32_t> best_columns, OutMatrix<float> best_scores, int threads) {
    const std::int64_t n = scores.shape(0), n_columns = scores.shape(1);
    const Filters filter = filters(n, n_columns, excluded_indptr, excluded_indices, allowed);
    const cofactor::Ranking out = ranking(n, best_columns, best_scores);
    run(threads, filter.exclude(), n_columns, [&](cofactor::Interrupt& interrupt) {
        cofactor::select_top_k(scores.data(), n, filter.choice(), out, threads, interrupt);
    });
}

}  // namespace

void bind_linear_topk(nb::module_& m) {
    m.def("linear_top_k_sparse", &linear_top_k_sparse, "indptr"_a, "indices"_a, "values"_a, "weights_indptr"_a,
          "weights_indices"_a, "weights_values"_a, "n_columns"_a, "excluded_indptr"_a.none(),
          "excluded_indices"_a.none(), "allowed"_a.none(), "best_columns"_a.noconvert(), "best_scores"_a.noconvert(),
          "threads"_a);
    m.def("linear_top_k_dense", &linear_top_k_dense, "indptr"_a, "indices"_a, "values"_a, "weights"_a,
          "excluded_indptr"_a.none(), "excluded_indices"_a.none(), "allowed"_a.none(), "best_columns"_a.noconvert(),
          "best_scores"_a.noconvert(), "threads"_a);
    m.def("select_top_k", &select_top_k, "scores"_a, "excluded_indptr"_a.none(), "excluded_indices"_a.none(),
          "allowed"_a.none(), "best_columns"_a.noconvert(), "best_scores"_a.noconvert(), "threads"_a);
}
