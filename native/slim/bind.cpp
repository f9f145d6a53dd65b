// SLIM for Python.
#include "bindings.hpp"
#include "slim/columns.hpp"

namespace {

// Both ways of one matrix; only shapes are checked, see in_range.
struct BothWays {
    cofactor::Csr users, items;
};

BothWays both_ways(const In1<std::int64_t>& user_indptr, const In1<std::int32_t>& user_indices,
                   const In1<float>& user_values, const In1<std::int64_t>& item_indptr,
                   const In1<std::int32_t>& item_indices, const In1<float>& item_values) {
    check(user_indices.size() == item_indices.size(), "both ways of a matrix must have as many entries");
    return {csr(user_indptr, user_indices, &user_values), csr(item_indptr, item_indices, &item_values)};
}

void slim_columns(In1<std::int64_t> user_indptr, In1<std::int32_t> user_indices, In1<float> user_values,
                  In1<std::int64_t> item_indptr, In1<std::int32_t> item_indices, In1<float> item_values,
                  In1<float> squares, std::optional<InMatrix> gramian, std::optional<In1<std::int64_t>> start_indptr,
                  std::optional<In1<std::int32_t>> start_indices, std::optional<In1<float>> start_values, float l1,
                  float l2, bool non_negative, float tolerance, std::int64_t iterations, std::int64_t neighbours,
                  std::int64_t top_n, std::int64_t max_active, std::int64_t begin, Out1<std::int32_t> out_counts,
                  OutMatrix<std::int32_t> out_items, OutMatrix<float> out_values, Out1<std::uint8_t> out_status,
                  int threads) {
    const auto [users, items] =
        both_ways(user_indptr, user_indices, user_values, item_indptr, item_indices, item_values);
    const std::int64_t n = items.n_rows(), end = begin + static_cast<std::int64_t>(out_counts.size());
    check(static_cast<std::int64_t>(squares.size()) == n, "squares must have one value per item");
    check(!gramian || (static_cast<std::int64_t>(gramian->shape(0)) == n &&
                       static_cast<std::int64_t>(gramian->shape(1)) == cofactor::padded(n)),
          "gramian must have one padded row per item");
    check(begin >= 0 && end <= n, "there are no such columns");
    check(out_items.shape(0) == out_counts.size() && out_values.shape(0) == out_counts.size() &&
              out_status.size() == out_counts.size(),
          "outputs must have one row per column");
    check(static_cast<std::int64_t>(out_items.shape(1)) == n && static_cast<std::int64_t>(out_values.shape(1)) == n,
          "out_items and out_values must have one place per item");
    check(l1 >= 0 && l2 >= 0 && tolerance > 0 && iterations >= 1 && neighbours >= 0 && top_n >= 0 && max_active >= 1,
          "options out of range");
    check(start_indptr.has_value() == start_indices.has_value() && start_indptr.has_value() == start_values.has_value(),
          "start needs indptr, indices and values");
    cofactor::Csr start;
    if (start_indptr) {
        start = csr(*start_indptr, *start_indices, &*start_values);
        check(start.n_rows() == n, "start must have one row per item");
    }
    const cofactor::SlimData data{users, items, view(squares), gramian ? gramian->data() : nullptr};
    const cofactor::SlimOptions options{l1, l2, tolerance, non_negative, iterations, neighbours, top_n, max_active};
    bool ascending = true;
    run(threads, &users, n, [&, &users = users, &items = items](cofactor::Interrupt& interrupt) {
        ascending = cofactor::is_ascending(items, users.n_rows(), threads, interrupt) &&
                    (!start_indptr || cofactor::is_ascending(start, n, threads, interrupt));
        if (!ascending) return;
        cofactor::slim_columns(data, options, start_indptr ? &start : nullptr, begin, end, out_counts.data(),
                               out_items.data(), out_values.data(), out_status.data(), threads, interrupt);
    });
    check(ascending, "columns must be ascending inside a row and in range");
}

}  // namespace

void bind_slim(nb::module_& m) {
    m.def("slim_columns", &slim_columns, "user_indptr"_a, "user_indices"_a, "user_values"_a, "item_indptr"_a,
          "item_indices"_a, "item_values"_a, "squares"_a, "gramian"_a.none(), "start_indptr"_a.none(),
          "start_indices"_a.none(), "start_values"_a.none(), "l1"_a, "l2"_a, "non_negative"_a, "tolerance"_a,
          "iterations"_a, "neighbours"_a, "top_n"_a, "max_active"_a, "begin"_a, "out_counts"_a.noconvert(),
          "out_items"_a.noconvert(), "out_values"_a.noconvert(), "out_status"_a.noconvert(), "threads"_a);
}
