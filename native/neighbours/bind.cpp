// Nearest neighbours of sparse rows for Python.
#include "bindings.hpp"
#include "neighbours/neighbours.hpp"
#include "topk/bind_filters.hpp"

namespace {

cofactor::Similarity similarity(std::int64_t n_rows, std::int64_t n_columns, const In1<float>& row_scale,
                                const In1<float>& column_scale, const In1<float>& row_add, const In1<float>& column_add,
                                float overlap, float shrink) {
    const auto fit = [](const In1<float>& a, const In1<float>& b, std::int64_t n) {
        return static_cast<std::int64_t>(a.size()) == n && static_cast<std::int64_t>(b.size()) == n;
    };
    check(fit(row_scale, row_add, n_rows), "row_scale and row_add must have one value per row");
    check(fit(column_scale, column_add, n_columns), "column_scale and column_add must have one value per column");
    return {view(row_scale), view(column_scale), view(row_add), view(column_add), overlap, shrink};
}

void gram_neighbours(In1<std::int64_t> indptr, In1<std::int32_t> indices, std::optional<In1<float>> values,
                     In1<float> weights, In1<float> row_scale, In1<float> column_scale, In1<float> row_add,
                     In1<float> column_add, float overlap, float shrink, OutMatrix<std::int32_t> out_columns,
                     OutMatrix<float> out_scores, int threads) {
    const cofactor::Csr a = csr(indptr, indices, values ? &*values : nullptr);
    const std::int64_t n = a.n_rows();
    const cofactor::Similarity formula =
        similarity(n, n, row_scale, column_scale, row_add, column_add, overlap, shrink);
    const cofactor::Ranking out = ranking(n, out_columns, out_scores);
    run(threads, &a, weights.size(), [&](cofactor::Interrupt& interrupt) {
        cofactor::gram_neighbours(a, view(weights), formula, out, threads, interrupt);
    });
}

void product_neighbours(In1<std::int64_t> a_indptr, In1<std::int32_t> a_indices, In1<float> a_values,
                        In1<std::int64_t> b_indptr, In1<std::int32_t> b_indices, In1<float> b_values,
                        In1<float> row_scale, In1<float> column_scale, In1<float> row_add, In1<float> column_add,
                        float overlap, float shrink, std::optional<In1<std::int32_t>> row_groups,
                        std::optional<In1<std::int32_t>> column_groups, OutMatrix<std::int32_t> out_columns,
                        OutMatrix<float> out_scores, int threads) {
    const cofactor::Csr a = csr(a_indptr, a_indices, &a_values), b = csr(b_indptr, b_indices, &b_values);
    const std::int64_t n = a.n_rows(), n_columns = column_scale.size();
    const cofactor::Similarity formula =
        similarity(n, n_columns, row_scale, column_scale, row_add, column_add, overlap, shrink);
    const cofactor::Ranking out = ranking(n, out_columns, out_scores);
    check(row_groups.has_value() == column_groups.has_value(), "groups are of rows and of columns");
    std::span<const std::int32_t> of_rows, of_columns;
    if (row_groups) {
        of_rows = view(*row_groups), of_columns = view(*column_groups);
        check(static_cast<std::int64_t>(of_rows.size()) == n, "row_groups must have one value per row");
        check(static_cast<std::int64_t>(of_columns.size()) == n_columns,
              "column_groups must have one value per column");
    }
    bool fine = true;
    run(threads, &a, b.n_rows(), [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::is_ascending(b, n_columns, threads, interrupt);
        if (fine) cofactor::product_neighbours(a, b, n_columns, formula, of_rows, of_columns, out, threads, interrupt);
    });
    check(fine, "columns must be ascending inside a row and in range");
}

}  // namespace

void bind_neighbours(nb::module_& m) {
    m.def("gram_neighbours", &gram_neighbours, "indptr"_a, "indices"_a, "values"_a.none(), "weights"_a, "row_scale"_a,
          "column_scale"_a, "row_add"_a, "column_add"_a, "overlap"_a, "shrink"_a, "out_columns"_a.noconvert(),
          "out_scores"_a.noconvert(), "threads"_a);
    m.def("product_neighbours", &product_neighbours, "a_indptr"_a, "a_indices"_a, "a_values"_a, "b_indptr"_a,
          "b_indices"_a, "b_values"_a, "row_scale"_a, "column_scale"_a, "row_add"_a, "column_add"_a, "overlap"_a,
          "shrink"_a, "row_groups"_a.none(), "column_groups"_a.none(), "out_columns"_a.noconvert(),
          "out_scores"_a.noconvert(), "threads"_a);
}
