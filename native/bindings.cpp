// The only file that knows Python: checks shapes, releases the GIL, calls the kernels, turns failures into errors.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "als.hpp"
#include "csr.hpp"
#include "parallel.hpp"
#include "simd.hpp"
#include "topk.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using In1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using InMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out1 = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using OutMatrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void check(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

template <class T>
std::span<const T> view(const In1<T>& a) {
    return {a.data(), a.size()};
}

cofactor::Csr csr(const In1<std::int64_t>& indptr, const In1<std::int32_t>& indices, const In1<float>* values) {
    check(indptr.size() >= 1, "indptr is empty");
    check(indptr.data()[0] == 0, "indptr does not start at 0");
    check(static_cast<std::size_t>(indptr.data()[indptr.size() - 1]) == indices.size(),
          "indptr does not end at the number of indices");
    check(values == nullptr || values->size() == indices.size(), "values and indices differ in length");
    for (std::size_t r = 1; r < indptr.size(); ++r) {
        check(indptr.data()[r - 1] <= indptr.data()[r], "indptr decreases");
    }
    return {view(indptr), view(indices), values == nullptr ? std::span<const float>{} : view(*values)};
}

// Runs a kernel without the GIL, unless the columns of `a` are not ascending inside rows and in range; Ctrl-C is looked
// for between two pieces of its work.
template <class Kernel>
void run(int threads, const cofactor::Csr* a, std::int64_t n_columns, Kernel&& kernel) {
    check(threads >= 1, "threads must be at least 1");
    cofactor::Interrupt interrupt([] {
        nb::gil_scoped_acquire gil;
        return PyErr_CheckSignals() != 0;
    });
    bool ascending = true;
    {
        nb::gil_scoped_release release;
        if (a != nullptr) ascending = cofactor::is_ascending(*a, n_columns, threads, interrupt);
        if (ascending && !interrupt.stopped()) kernel(interrupt);
    }
    check(ascending, "columns must be ascending inside a row and in range");
    if (interrupt.stopped()) throw nb::python_error();
}

void transpose(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values, std::int64_t n_columns,
               Out1<std::int64_t> out_indptr, Out1<std::int32_t> out_indices, Out1<float> out_values) {
    const cofactor::Csr a = csr(indptr, indices, &values);
    check(static_cast<std::int64_t>(out_indptr.size()) == n_columns + 1, "out_indptr must hold n_columns + 1 offsets");
    check(out_indices.size() == indices.size() && out_values.size() == indices.size(), "outputs must hold nnz entries");
    run(1, &a, n_columns, [&](cofactor::Interrupt&) {
        std::fill_n(out_indptr.data(), out_indptr.size(), 0);
        cofactor::transpose(a, {out_indptr.data(), out_indptr.size()}, {out_indices.data(), out_indices.size()},
                            {out_values.data(), out_values.size()});
    });
}

void gramian(InMatrix y, OutMatrix<float> out, int threads) {
    check(y.shape(1) >= 1, "y must have at least one factor");
    check(out.shape(0) == y.shape(1) && out.shape(1) == y.shape(1), "out must be factors x factors");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::gramian(y.data(), y.shape(0), y.shape(1), out.data(), threads, interrupt);
    });
}

std::pair<double, std::int64_t> als_sweep(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                                          OutMatrix<float> solved, InMatrix fixed, InMatrix gramian, float alpha,
                                          float unobserved_weight, float regularization, float regularization_exponent,
                                          const std::string& solver, int cg_steps, float cg_tolerance, int block_size,
                                          int threads) {
    const cofactor::Csr history = csr(indptr, indices, &values);
    const std::size_t factors = fixed.shape(1);
    check(static_cast<std::int64_t>(solved.shape(0)) == history.n_rows(), "solved must have one row per history");
    check(solved.shape(1) == factors && factors >= 1, "solved and fixed must have the same number of factors");
    check(gramian.shape(0) == factors && gramian.shape(1) == factors, "gramian must be factors x factors");
    check(block_size >= 1, "block_size must be at least 1");
    using cofactor::AlsSolver;
    const AlsSolver kind = solver == "cholesky" ? AlsSolver::cholesky
                           : solver == "cg"     ? AlsSolver::cg
                                                : AlsSolver::subspace;
    check(kind != AlsSolver::subspace || solver == "subspace", "solver must be cholesky, cg or subspace");
    const cofactor::AlsOptions options{alpha, unobserved_weight, regularization, regularization_exponent,
                                       kind,  cg_steps,          cg_tolerance,   block_size};
    cofactor::AlsResult result{};
    run(threads, &history, fixed.shape(0), [&](cofactor::Interrupt& interrupt) {
        result = cofactor::als_sweep(history, solved.data(), fixed.data(), fixed.shape(0), factors, gramian.data(),
                                     options, threads, interrupt);
    });
    return {result.loss, result.failed_row};
}

void top_k(InMatrix queries, InMatrix items, std::optional<In1<float>> bias,
           std::optional<In1<std::int64_t>> excluded_indptr, std::optional<In1<std::int32_t>> excluded_indices,
           std::optional<In1<std::int32_t>> allowed, OutMatrix<std::int32_t> best_items, OutMatrix<float> best_scores,
           int threads) {
    const std::int64_t n_items = items.shape(0);
    check(queries.shape(1) == items.shape(1), "queries and items must have the same number of factors");
    check(best_items.shape(0) == queries.shape(0) && best_scores.shape(0) == queries.shape(0),
          "outputs must have one row per query");
    check(best_items.shape(1) == best_scores.shape(1) && best_items.shape(1) >= 1, "outputs must have k >= 1 columns");
    check(!bias || bias->size() == items.shape(0), "bias must have one value per item");
    check(excluded_indptr.has_value() == excluded_indices.has_value(), "excluded needs both indptr and indices");
    cofactor::Csr excluded{};
    if (excluded_indptr) {
        excluded = csr(*excluded_indptr, *excluded_indices, nullptr);
        check(excluded.n_rows() == static_cast<std::int64_t>(queries.shape(0)), "excluded must have one row per query");
    }
    if (allowed) {
        const std::span<const std::int32_t> a = view(*allowed);
        for (std::size_t i = 0; i < a.size(); ++i) {
            check(a[i] >= 0 && a[i] < n_items && (i == 0 || a[i - 1] < a[i]), "allowed must hold ascending item rows");
        }
    }
    const cofactor::TopKQuery query{queries.data(),
                                    static_cast<std::int64_t>(queries.shape(0)),
                                    items.data(),
                                    n_items,
                                    static_cast<std::ptrdiff_t>(items.shape(1)),
                                    bias ? view(*bias) : std::span<const float>{},
                                    excluded_indptr ? &excluded : nullptr,
                                    allowed ? view(*allowed) : std::span<const std::int32_t>{},
                                    allowed.has_value()};
    run(threads, excluded_indptr ? &excluded : nullptr, n_items, [&](cofactor::Interrupt& interrupt) {
        cofactor::top_k(query, {best_items.data(), best_scores.data(), static_cast<std::int64_t>(best_items.shape(1))},
                        threads, interrupt);
    });
}

// The best level that this CPU can run, whatever level this module is compiled for.
const char* supported_level() {
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")))
        return "baseline";
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512cd");
    if (!avx512) return "avx2";
    return __builtin_cpu_supports("avx512vnni") ? "avx512vnni" : "avx512";
#else
    return "baseline";
#endif
}

}  // namespace

NB_MODULE(COFACTOR_MODULE, m) {
    m.attr("level") = COFACTOR_LEVEL;
    m.attr("lanes") = cofactor::kLanes;
    m.def("supported_level", &supported_level);
    m.def("transpose", &transpose, "indptr"_a, "indices"_a, "values"_a, "n_columns"_a, "out_indptr"_a.noconvert(),
          "out_indices"_a.noconvert(), "out_values"_a.noconvert());
    m.def("gramian", &gramian, "y"_a, "out"_a.noconvert(), "threads"_a);
    m.def("als_sweep", &als_sweep, "indptr"_a, "indices"_a, "values"_a, "solved"_a.noconvert(), "fixed"_a, "gramian"_a,
          "alpha"_a, "unobserved_weight"_a, "regularization"_a, "regularization_exponent"_a, "solver"_a, "cg_steps"_a,
          "cg_tolerance"_a, "block_size"_a, "threads"_a);
    m.def("top_k", &top_k, "queries"_a, "items"_a, "bias"_a.none(), "excluded_indptr"_a.none(),
          "excluded_indices"_a.none(), "allowed"_a.none(), "best_items"_a.noconvert(), "best_scores"_a.noconvert(),
          "threads"_a);
}
