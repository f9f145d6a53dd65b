#include "core/level.hpp"

#include "core/simd.hpp"

namespace cofactor {

const char* level() { return COFACTOR_LEVEL; }
int lanes() { return kLanes; }

}  // namespace cofactor
