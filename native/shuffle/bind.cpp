// Passes in a random order for Python.
#include <algorithm>

#include "bindings.hpp"
#include "shuffle/shuffle.hpp"

namespace {

void permuted_rows(std::int64_t n, std::uint64_t seed, std::int64_t begin, Out1<std::int64_t> out, int threads) {
    check(begin >= 0 && begin <= n && static_cast<std::int64_t>(out.size()) <= n - begin,
          "the places must be among the n of the permutation");
    check(n < std::int64_t{1} << 62, "n must be below 2^62");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::permuted_rows(n, seed, begin, {out.data(), out.size()}, threads, interrupt);
    });
}

template <class T>
void gather(nb::ndarray<const T, nb::ndim<1>, nb::device::cpu> values, In1<std::int64_t> rows, Out1<T> out,
            int threads) {
    check(rows.size() == out.size(), "out must have one value per row");
    const auto size = static_cast<std::uint64_t>(values.size());
    bool in_range = true;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        in_range = std::all_of(rows.data(), rows.data() + rows.size(),
                               [=](std::int64_t row) { return static_cast<std::uint64_t>(row) < size; });
        if (in_range) cofactor::gather(values.data(), values.stride(0), view(rows), out.data(), threads, interrupt);
    });
    check(in_range, "rows must be in range");
}

}  // namespace

void bind_shuffle(nb::module_& m) {
    m.def("permuted_rows", &permuted_rows, "n"_a, "seed"_a, "begin"_a, "out"_a.noconvert(), "threads"_a);
    m.def("gather_int32", &gather<std::int32_t>, "values"_a.noconvert(), "rows"_a, "out"_a.noconvert(), "threads"_a);
    m.def("gather_int64", &gather<std::int64_t>, "values"_a.noconvert(), "rows"_a, "out"_a.noconvert(), "threads"_a);
}
