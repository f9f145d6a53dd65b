// An index of vectors for exact top-k: blocks of vectors that lie together, and what bounds their products.
//
// Vectors are put into blocks by bisection, each half around its own mean. A block has a unit vector g, its direction.
// With a = y . g the part of a vector along it, and b = |y - a g| the part across, every query q has
//
//     q . y = (q . g) a + (q - (q . g) g) . (y - a g) <= (q . g) a + sqrt(|q|^2 - (q . g)^2) b,
//
// so that the least and the largest a, and the largest b, bound what a block, or a panel of it, can score: one product
// with g for all its vectors. Those of a block stand by falling a in panels as wide as a register tile, coded as
// topk/codes.hpp has it. What a query's k-th best score so far cannot be reached by is never looked at.
//
// q . g is computed in float32 and off by at most eta = 2 (f + 1) u |q| + f 2^-149, the latter where products
// underflow: that adds eta |a| to the bound, and 2 eta |q| to |q|^2 - (q . g)^2. a and b are computed in double; b^2 is
// taken larger by f 2^-50 |y|^2, which is more than is lost by cancellation. The rest of the roundoff is that of
// topk/group.hpp, whose (4 f + 16) u (|q| N + A) covers all of eta |a| but the underflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/parallel.hpp"
#include "topk/query.hpp"

namespace cofactor {

inline constexpr std::ptrdiff_t kMostFactors = 16384;  // the sums of bytes fit, and so does roundoff

// Rows of the table of blocks, a column for each.
enum BlockBound { kLow, kHigh, kAcross, kNorm, kBias, kBiasSize, kBlockBounds };

// Of the items of a panel; doubles all, as they come from and go to Python.
struct PanelBound {
    double low, high, across;        // least and largest a, largest b
    double norm, error;              // N and E of topk/group.hpp
    double bias, bias_size;          // the largest, and A
    double per_unit, first, filled;  // 1 / scale of the codes, lowest item, number of items
};
inline constexpr std::int64_t kPanelBounds = sizeof(PanelBound) / sizeof(double);

struct Layout {
    std::int64_t panel, bytes;  // items of a panel, and what their codes take
};
Layout index_layout(std::ptrdiff_t factors);

struct Vectors {
    const float* values;  // n x factors, finite
    std::int64_t n;
    std::ptrdiff_t factors;
    std::span<const float> bias;  // n, or empty

    const float* operator[](std::int64_t i) const { return values + i * factors; }
};

// What an index is, as memory that Python holds.
template <class Place, class Real, class Bound, class Byte>
struct IndexArrays {
    std::span<Place> places;                    // n_panels x panel items, -1 past the end of a block
    std::span<const std::int64_t> first_panel;  // n_blocks + 1
    std::span<Real> directions;                 // of panel blocks side by side, panels of factors x panel
    std::span<Bound> blocks;                    // kBlockBounds x n_blocks
    std::span<Bound> panels;                    // n_panels x kPanelBounds
    std::span<Byte> codes;                      // n_panels x bytes

    std::int64_t n_blocks() const { return static_cast<std::int64_t>(first_panel.size()) - 1; }
};
using IndexParts = IndexArrays<std::int32_t, float, double, std::uint8_t>;
using VectorIndex = IndexArrays<const std::int32_t, const float, const double, const std::uint8_t>;

// Cuts blocks of more than `most` items where their vectors part, so that no part has less than a 16th of it. The
// places offsets[i] ... offsets[i + 1] of order are the items of block i, before and after; returns the number of
// blocks. offsets has room for 16 n / most + 1 more than given. The result does not depend on threads.
std::int64_t cut_blocks(const Vectors& items, std::span<std::int32_t> order, std::span<const std::int64_t> given,
                        std::span<std::int64_t> offsets, std::int64_t most, int threads, Interrupt& interrupt);

// Fills an index of blocks; first_panel is given.
void pack_index(const Vectors& items, std::span<const std::int32_t> order, std::span<const std::int64_t> offsets,
                const IndexParts& index, int threads, Interrupt& interrupt);

// top_k of topk/vectors.hpp, to the last bit, of the items that the index is of. False where the index names an item
// that is not there.
bool index_top_k(const TopKQuery& q, const VectorIndex& index, TopKResult result, int threads, Interrupt& interrupt);

}  // namespace cofactor
