// Implicit ALS for Python.
#include <nanobind/stl/vector.h>

#include "als/sweep.hpp"
#include "bindings.hpp"

namespace {

void gramian(InMatrix y, OutMatrix<float> out, int threads) {
    check(y.shape(1) >= 1, "y must have at least one factor");
    check(out.shape(0) == y.shape(1) && out.shape(1) == y.shape(1), "out must be factors x factors");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::gramian(y.data(), y.shape(0), y.shape(1), out.data(), threads, interrupt);
    });
}

void rotate(OutMatrix<float> x, InMatrix q, int threads) {
    check(q.shape(0) == x.shape(1) && q.shape(1) == x.shape(1) && x.shape(1) >= 1, "q must be factors x factors");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::rotate(x.data(), x.shape(0), x.shape(1), q.data(), threads, interrupt);
    });
}

std::pair<double, std::int64_t> als_sweep(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                                          OutMatrix<float> solved, const std::vector<InMatrix>& fixed, InMatrix gramian,
                                          float alpha, float unobserved_weight, float regularization,
                                          float regularization_exponent, const std::string& solver, int cg_steps,
                                          float cg_tolerance, int block_size, const std::string& gather, int threads) {
    const cofactor::Csr history = csr(indptr, indices, &values);
    const std::size_t factors = solved.shape(1);
    std::vector<cofactor::FixedPart> parts;
    std::int64_t n_fixed = 0;
    for (const InMatrix& part : fixed) {
        check(part.shape(1) == factors, "solved and fixed must have the same number of factors");
        parts.push_back({part.data(), static_cast<std::int64_t>(part.shape(0))});
        n_fixed += parts.back().n;
    }
    check(static_cast<std::int64_t>(solved.shape(0)) == history.n_rows(), "solved must have one row per history");
    check(!parts.empty() && factors >= 1, "fixed must have a part, and at least one factor");
    check(gramian.shape(0) == factors && gramian.shape(1) == factors, "gramian must be factors x factors");
    check(block_size >= 1, "block_size must be at least 1");
    check(gather == "float32" || gather == "bfloat16", "gather must be float32 or bfloat16");
    using cofactor::AlsSolver;
    const AlsSolver kind = solver == "cholesky" ? AlsSolver::cholesky
                           : solver == "cg"     ? AlsSolver::cg
                                                : AlsSolver::subspace;
    check(kind != AlsSolver::subspace || solver == "subspace", "solver must be cholesky, cg or subspace");
    check(kind == AlsSolver::cholesky || cofactor::is_diagonal(gramian.data(), factors),
          "solvers cg and subspace want a diagonal gramian: rotate both sides by to_principal_axes");
    const cofactor::AlsOptions options{alpha,    unobserved_weight, regularization, regularization_exponent, kind,
                                       cg_steps, cg_tolerance,      block_size,     gather == "bfloat16"};
    cofactor::AlsResult result{};
    run(threads, &history, n_fixed, [&](cofactor::Interrupt& interrupt) {
        result =
            cofactor::als_sweep(history, solved.data(), parts, factors, gramian.data(), options, threads, interrupt);
    });
    return {result.loss, result.failed_row};
}

}  // namespace

void bind_als(nb::module_& m) {
    m.def("gramian", &gramian, "y"_a, "out"_a.noconvert(), "threads"_a);
    m.def("rotate", &rotate, "x"_a.noconvert(), "q"_a, "threads"_a);
    m.def("als_sweep", &als_sweep, "indptr"_a, "indices"_a, "values"_a, "solved"_a.noconvert(), "fixed"_a, "gramian"_a,
          "alpha"_a, "unobserved_weight"_a, "regularization"_a, "regularization_exponent"_a, "solver"_a, "cg_steps"_a,
          "cg_tolerance"_a, "block_size"_a, "gather"_a, "threads"_a);
}
