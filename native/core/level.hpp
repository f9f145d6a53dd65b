// The CPU level that the kernels at hand are compiled for.
#pragma once

namespace cofactor {

const char* level();
int lanes();  // floats in a vector

}  // namespace cofactor
