// SLIM: every item's column as a sparse regression on the other items' columns, one item a thread.
//
//   min over w with w[item] = 0 (and w >= 0)  |x - X w|^2 / 2 + l2 |w|^2 / 2 + l1 |w|_1
//
// Coordinate descent on a working set that holds all items with weights; once it is solved, the gradients of all other
// items decide who has to join it. SlimCovariance and SlimResidual know two ways to the gradients. With X'X at hand,
// Newton steps for all weights at once (up to 2,048), signs held, spare most of the sweeps that items with many common
// users take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/csr.hpp"
#include "core/padded.hpp"
#include "core/parallel.hpp"

namespace cofactor {

struct SlimData {
    Csr user_items, item_users;
    std::span<const float> squares;  // diagonal of X'X, (n_items)
    const float* gramian;            // X'X, n_items rows of gramian_stride() floats, zeros at the end; or null

    std::int64_t n_users() const { return user_items.n_rows(); }
    std::int64_t n_items() const { return item_users.n_rows(); }
    std::ptrdiff_t gramian_stride() const { return padded(n_items()); }
};

struct SlimOptions {
    float l1, l2;
    float tolerance;  // how far a coordinate may be from its optimum; see SlimColumn::distance
    bool non_negative;
    std::int64_t iterations;  // sweeps over the working set
    std::int64_t neighbours;  // choose among that many items of the largest cosine; 0: all
    std::int64_t top_n;       // keep that many; 0: all
    std::int64_t max_active;  // largest working set
};

enum class SlimStatus : std::uint8_t { converged = 0, unfinished = 1, too_many = 2 };

// Columns [begin, end) of the weights: out_counts[c] of them from out_items[c * n_items] and out_values[c * n_items],
// ascending. `start`: weights to start from, a row for each column; or null.
void slim_columns(const SlimData& data, const SlimOptions& options, const Csr* start, std::int64_t begin,
                  std::int64_t end, std::int32_t* out_counts, std::int32_t* out_items, float* out_values,
                  std::uint8_t* out_status, int threads, Interrupt& interrupt);

}  // namespace cofactor
