// Least squares with a prior, for Python.
#include "als/gaussian_rows.hpp"
#include "bindings.hpp"
#include "core/padded.hpp"

namespace {

std::pair<double, std::int64_t> gaussian_rows(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                                              OutMatrix<float> solved, InMatrix fixed, In1<float> offsets,
                                              std::int64_t factors, InMatrix prior, In1<float> side, float exponent,
                                              float deviation, std::uint64_t seed, int threads) {
    const cofactor::Csr ratings = csr(indptr, indices, &values);
    const std::size_t width = fixed.shape(1);
    check(width >= 1 && width % cofactor::kPad == 0, "fixed must be padded");
    check(factors >= 1 && static_cast<std::size_t>(factors) <= width, "there must be factors, at most those of fixed");
    check(static_cast<std::int64_t>(solved.shape(0)) == ratings.n_rows(),
          "solved must have one row per row of ratings");
    check(solved.shape(1) == width, "solved and fixed must have the same width");
    check(offsets.size() == fixed.shape(0), "there must be one offset per row of fixed");
    check(prior.shape(0) == width && prior.shape(1) == width && side.size() == width,
          "prior must be width x width, and side have width numbers");
    const cofactor::GaussianRows rows{ratings,
                                      fixed.data(),
                                      offsets.data(),
                                      static_cast<std::ptrdiff_t>(factors),
                                      static_cast<std::ptrdiff_t>(width),
                                      prior.data(),
                                      side.data(),
                                      exponent,
                                      deviation,
                                      seed,
                                      solved.data()};
    cofactor::GaussianRowsResult result{};
    run(threads, &ratings, fixed.shape(0),
        [&](cofactor::Interrupt& interrupt) { result = cofactor::gaussian_rows(rows, threads, interrupt); });
    return {result.squares, result.failed_row};
}

}  // namespace

void bind_gaussian_rows(nb::module_& m) {
    m.def("gaussian_rows", &gaussian_rows, "indptr"_a, "indices"_a, "values"_a, "solved"_a.noconvert(), "fixed"_a,
          "offsets"_a, "factors"_a, "prior"_a, "side"_a, "exponent"_a, "deviation"_a, "seed"_a, "threads"_a);
}
