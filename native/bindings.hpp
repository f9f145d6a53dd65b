// What the bindings share: array types, checks, and the way a kernel runs without the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "core/csr.hpp"
#include "core/parallel.hpp"

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using In1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using InMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Out1 = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using OutMatrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

inline void check(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

template <class T>
std::span<const T> view(const In1<T>& a) {
    return {a.data(), a.size()};
}

inline cofactor::Csr csr(const In1<std::int64_t>& indptr, const In1<std::int32_t>& indices, const In1<float>* values) {
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
