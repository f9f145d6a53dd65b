// Products of sparse and dense matrices for Python.
#include "bindings.hpp"
#include "products/products.hpp"

namespace {

// Runs a kernel after a look at the columns of both matrices.
template <class Kernel>
void run_both(int threads, const cofactor::Csr& a, std::int64_t a_columns, const cofactor::Csr& b,
              std::int64_t b_columns, Kernel&& kernel) {
    run(threads, &a, a_columns, [](cofactor::Interrupt&) {});
    run(threads, &b, b_columns, kernel);
}

void sparse_product(In1<std::int64_t> a_indptr, In1<std::int32_t> a_indices, In1<float> a_values,
                    In1<std::int64_t> b_indptr, In1<std::int32_t> b_indices, In1<float> b_values, bool lower,
                    OutMatrix<float> out, int threads) {
    const cofactor::Csr a = csr(a_indptr, a_indices, &a_values), b = csr(b_indptr, b_indices, &b_values);
    const auto n_columns = static_cast<std::int64_t>(out.shape(1));
    check(static_cast<std::int64_t>(out.shape(0)) == a.n_rows(), "out must have one row per row of a");
    check(!lower || a.n_rows() == n_columns, "the lower half is that of a square matrix");
    run_both(threads, a, b.n_rows(), b, n_columns, [&](cofactor::Interrupt& interrupt) {
        cofactor::sparse_product(a, b, n_columns, lower, out.data(), threads, interrupt);
    });
}

void dense_product(InMatrix d, In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                   OutMatrix<float> out, int threads) {
    const cofactor::Csr b = csr(indptr, indices, &values);
    const auto n = static_cast<std::int64_t>(d.shape(0)), depth = static_cast<std::int64_t>(d.shape(1));
    check(static_cast<std::int64_t>(out.shape(0)) == n && static_cast<std::int64_t>(out.shape(1)) == b.n_rows(),
          "out must have a row per row of d and a column per row of b");
    run(threads, &b, depth, [&](cofactor::Interrupt& interrupt) {
        cofactor::dense_product(d.data(), n, depth, b, out.data(), threads, interrupt);
    });
}

void quadratic_forms(InMatrix k, In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                     Out1<double> out, int threads) {
    const cofactor::Csr b = csr(indptr, indices, &values);
    const auto m = static_cast<std::int64_t>(k.shape(0));
    check(k.shape(0) == k.shape(1), "k must be square");
    check(static_cast<std::int64_t>(out.size()) == b.n_rows(), "out must have one value per row of b");
    run(threads, &b, m, [&](cofactor::Interrupt& interrupt) {
        cofactor::quadratic_forms(k.data(), m, b, out.data(), threads, interrupt);
    });
}

void mirror_scaled(OutMatrix<float> p, In1<float> scale, float diagonal, int threads) {
    check(p.shape(0) == p.shape(1), "p must be square");
    check(scale.size() == p.shape(0), "scale must have one value per column");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::mirror_scaled(p.data(), static_cast<std::int64_t>(p.shape(0)), scale.data(), diagonal, threads,
                                interrupt);
    });
}

}  // namespace

void bind_products(nb::module_& m) {
    m.def("sparse_product", &sparse_product, "a_indptr"_a, "a_indices"_a, "a_values"_a, "b_indptr"_a, "b_indices"_a,
          "b_values"_a, "lower"_a, "out"_a.noconvert(), "threads"_a);
    m.def("dense_product", &dense_product, "d"_a, "indptr"_a, "indices"_a, "values"_a, "out"_a.noconvert(),
          "threads"_a);
    m.def("quadratic_forms", &quadratic_forms, "k"_a, "indptr"_a, "indices"_a, "values"_a, "out"_a.noconvert(),
          "threads"_a);
    m.def("mirror_scaled", &mirror_scaled, "p"_a.noconvert(), "scale"_a, "diagonal"_a, "threads"_a);
}
