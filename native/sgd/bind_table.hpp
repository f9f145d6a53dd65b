// Tables and compositions as Python gives them.
#pragma once

#include "sampling/bind_negatives.hpp"
#include "sgd/table.hpp"

// Arrays that the optimizer has no use for are empty. Only kernels that tell n_coordinates take row_adam.
inline cofactor::Table table(const OutMatrix<float>& values, const OutMatrix<float>& first,
                             const OutMatrix<float>& second, const Out1<std::int32_t>& steps,
                             const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
                             std::int64_t n_coordinates = 0) {
    using cofactor::Optimizer;
    const bool by_row = optimizer == "row_adam" && n_coordinates > 0;
    check(optimizer == "sgd" || optimizer == "adagrad" || optimizer == "adam" || by_row,
          "optimizer must be sgd, adagrad or adam");
    const Optimizer kind = optimizer == "sgd"       ? Optimizer::sgd
                           : optimizer == "adagrad" ? Optimizer::adagrad
                           : optimizer == "adam"    ? Optimizer::adam
                                                    : Optimizer::row_adam;
    const bool needs_first = kind == Optimizer::adam || by_row, needs_second = kind != Optimizer::sgd;
    const auto state = [&](const OutMatrix<float>& a, bool needed, std::size_t width) {
        check(needed ? a.shape(0) == values.shape(0) && a.shape(1) == width : a.size() == 0,
              "the state of the optimizer must have the shape of the values, or be empty where it has none");
        return needed ? a.data() : nullptr;
    };
    check(values.shape(1) == 1 || values.shape(1) % cofactor::kPad == 0, "rows must be padded");
    check(steps.size() == (needs_first ? values.shape(0) : 0), "steps must have one number a row, or be empty");
    return {static_cast<std::int64_t>(values.shape(0)),
            static_cast<std::ptrdiff_t>(values.shape(1)),
            values.data(),
            state(first, needs_first, values.shape(1)),
            state(second, needs_second, by_row ? 2 : values.shape(1)),
            needs_first ? steps.data() : nullptr,
            {kind, learning_rate, epsilon, beta1, beta2, n_coordinates}};
}

// The rows that make vectors, if they are not one each.
inline std::optional<cofactor::Csr> vector_parts(const Indptr& indptr, const Indices& indices, const Values& values,
                                                 std::int64_t n, std::int64_t n_table_rows, int threads) {
    check(indptr.has_value() == indices.has_value() && indptr.has_value() == values.has_value(),
          "parts must have indptr, indices and values, or none of them");
    if (!indptr) return std::nullopt;
    const cofactor::Csr found = csr(*indptr, *indices, &*values);
    check(found.n_rows() == n, "parts must have one row for each user or item");
    run(threads, &found, n_table_rows, [](cofactor::Interrupt&) {});
    return found;
}
