// How wide the rows of work matrices are.
#pragma once

#include <cstddef>

namespace cofactor {

// Rows of every work matrix are padded with zeros to a multiple of this many floats, on every CPU alike.
inline constexpr int kPad = 16;
constexpr std::ptrdiff_t padded(std::ptrdiff_t n) { return (n + kPad - 1) / kPad * kPad; }

}  // namespace cofactor
