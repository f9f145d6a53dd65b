// The filters and outputs that every kind of top-k has, checked.
//
// The Python side names the caller's parameter in its errors; what is checked here, by filters() and by run() for the
// columns of what is excluded, keeps the kernels inside their arrays whoever calls, so both stay.
#pragma once

#include "bindings.hpp"
#include "topk/choice.hpp"

struct Filters {
    std::optional<cofactor::Csr> excluded = {};
    std::span<const std::int32_t> allowed = {};
    bool restricted = false;
    std::int64_t n_columns = 0;

    const cofactor::Csr* exclude() const { return excluded ? &*excluded : nullptr; }
    cofactor::Choice choice() const { return {n_columns, exclude(), allowed, restricted}; }
};

inline Filters filters(std::int64_t n, std::int64_t n_columns, const std::optional<In1<std::int64_t>>& excluded_indptr,
                       const std::optional<In1<std::int32_t>>& excluded_indices,
                       const std::optional<In1<std::int32_t>>& allowed,
                       const char* ascending = "allowed must hold ascending columns") {
    Filters result;
    result.n_columns = n_columns;
    check(excluded_indptr.has_value() == excluded_indices.has_value(), "excluded needs both indptr and indices");
    if (excluded_indptr) {
        result.excluded = csr(*excluded_indptr, *excluded_indices, nullptr);
        check(result.excluded->n_rows() == n, "excluded must have one row per list");
    }
    if (allowed) {
        result.restricted = true;
        result.allowed = view(*allowed);
        for (std::size_t i = 0; i < result.allowed.size(); ++i) {
            check(result.allowed[i] >= 0 && result.allowed[i] < n_columns &&
                      (i == 0 || result.allowed[i - 1] < result.allowed[i]),
                  ascending);
        }
    }
    return result;
}

inline cofactor::Ranking ranking(std::int64_t n, const OutMatrix<std::int32_t>& columns,
                                 const OutMatrix<float>& scores) {
    check(static_cast<std::int64_t>(columns.shape(0)) == n && static_cast<std::int64_t>(scores.shape(0)) == n,
          "outputs must have one list per row");
    check(columns.shape(1) == scores.shape(1) && columns.shape(1) >= 1, "outputs must have k >= 1 columns");
    return {columns.data(), scores.data(), static_cast<std::int64_t>(columns.shape(1))};
}
