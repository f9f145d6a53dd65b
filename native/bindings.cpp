// The extension modules; this and the bind*.cpp of every folder are the only files that know Python: they check shapes,
// release the GIL, call the kernels and turn failures into errors. They are compiled once, for any CPU, and linked with
// the kernels of each level, of which they include only the headers with what kernels are given and what they return.
#include "bindings.hpp"

#include "core/level.hpp"

void bind_als(nb::module_& m);
void bind_gaussian_rows(nb::module_& m);
void bind_fm(nb::module_& m);
void bind_item_pairs(nb::module_& m);
void bind_linear_topk(nb::module_& m);
void bind_metrics(nb::module_& m);
void bind_neighbours(nb::module_& m);
void bind_pairwise(nb::module_& m);
void bind_products(nb::module_& m);
void bind_sampling(nb::module_& m);
void bind_ranks(nb::module_& m);
void bind_ratings_sgd(nb::module_& m);
void bind_retrieval(nb::module_& m);
void bind_session_knn(nb::module_& m);
void bind_session_pairs(nb::module_& m);
void bind_covisitation(nb::module_& m);
void bind_shared_negatives(nb::module_& m);
void bind_shuffle(nb::module_& m);
void bind_slim(nb::module_& m);
void bind_topk(nb::module_& m);

namespace {

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

void bind(nb::module_& m) {
    m.attr("level") = cofactor::level();
    m.attr("lanes") = cofactor::lanes();
    m.def("supported_level", &supported_level);
    m.def("transpose", &transpose, "indptr"_a, "indices"_a, "values"_a, "n_columns"_a, "out_indptr"_a.noconvert(),
          "out_indices"_a.noconvert(), "out_values"_a.noconvert());
    bind_als(m);
    bind_gaussian_rows(m);
    bind_fm(m);
    bind_item_pairs(m);
    bind_linear_topk(m);
    bind_metrics(m);
    bind_neighbours(m);
    bind_pairwise(m);
    bind_products(m);
    bind_sampling(m);
    bind_ranks(m);
    bind_ratings_sgd(m);
    bind_retrieval(m);
    bind_session_knn(m);
    bind_session_pairs(m);
    bind_covisitation(m);
    bind_shared_negatives(m);
    bind_shuffle(m);
    bind_slim(m);
    bind_topk(m);
}

}  // namespace

// The names under which this may be linked: Python looks for that of the file.
NB_MODULE(_native_baseline, m) { bind(m); }
NB_MODULE(_native_avx2, m) { bind(m); }
NB_MODULE(_native_avx512, m) { bind(m); }
NB_MODULE(_native_avx512vnni, m) { bind(m); }
