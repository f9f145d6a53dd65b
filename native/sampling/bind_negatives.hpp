// What negatives are drawn from, as Python gives it.
#pragma once

#include <limits>

#include "bindings.hpp"
#include "sampling/sampler.hpp"

using Indptr = std::optional<In1<std::int64_t>>;
using Indices = std::optional<In1<std::int32_t>>;
using Values = std::optional<In1<float>>;

// The pattern of a matrix that may be missing.
inline std::optional<cofactor::Csr> pattern(const Indptr& indptr, const Indices& indices, std::int64_t n_rows,
                                            std::int64_t n_columns, int threads) {
    check(indptr.has_value() == indices.has_value(), "a pattern has indptr and indices, or none of them");
    if (!indptr) return std::nullopt;
    const cofactor::Csr found = csr(*indptr, *indices, nullptr);
    check(found.n_rows() == n_rows, "the pattern must have one row for every user");
    run(threads, &found, n_columns, [](cofactor::Interrupt&) {});
    return found;
}

inline cofactor::ItemSampler item_sampler(std::int64_t n_items, const Values& keep, const Indices& alias) {
    check(n_items >= 0 && n_items < 1ll << 31, "n_items must be below 2^31");
    check(keep.has_value() == alias.has_value(), "an alias table has keep and alias");
    if (!keep) return {static_cast<std::int32_t>(n_items), {}, {}};
    check(static_cast<std::int64_t>(keep->size()) == n_items && alias->size() == keep->size(),
          "keep and alias must have one number for every item");
    for (const std::int32_t item : view(*alias)) check(item >= 0 && item < n_items, "alias must hold items");
    return {static_cast<std::int32_t>(n_items), view(*keep), view(*alias)};
}
