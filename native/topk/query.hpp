// What is asked of top-k, and what comes back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "core/simd.hpp"
#include "topk/best.hpp"

namespace cofactor {

struct TopKQuery {
    const float* queries;  // n_queries x factors
    std::int64_t n_queries;
    const float* items;  // n_items x factors
    std::int64_t n_items;
    std::ptrdiff_t factors;
    std::span<const float> bias;            // n_items, or empty
    const Csr* excluded;                    // n_queries x n_items, or null
    std::span<const std::int32_t> allowed;  // ascending items to choose from; all of them where restricted is false
    bool restricted;
    std::int64_t n_candidates() const { return restricted ? static_cast<std::int64_t>(allowed.size()) : n_items; }
    std::int32_t candidate(std::int64_t c) const { return restricted ? allowed[c] : static_cast<std::int32_t>(c); }
    const float* query(std::int64_t i) const { return queries + i * factors; }
    const float* item(std::int64_t i) const { return items + i * factors; }
    float item_bias(std::int64_t i) const { return bias.empty() ? 0.0f : bias[i]; }

    std::span<const std::int32_t> excluded_items(std::int64_t query) const {  // ascending
        if (excluded == nullptr) return {};
        const std::int64_t begin = excluded->indptr[query];
        return excluded->indices.subspan(begin, excluded->indptr[query + 1] - begin);
    }
    bool excludes(std::int64_t query, std::int32_t item) const {
        const auto items = excluded_items(query);
        return std::binary_search(items.begin(), items.end(), item);
    }

    // The score of a pair, the same wherever it is asked for.
    float score(std::int64_t query_row, std::int32_t item_row) const {
        const float *a = query(query_row), *b = item(item_row);
        const std::ptrdiff_t whole = factors / kPad * kPad, left = factors - whole;
        float inner = dot(a, b, whole);
        if (left > 0) {
            float x[kPad] = {}, y[kPad] = {};
            std::memcpy(x, a + whole, left * sizeof(float));
            std::memcpy(y, b + whole, left * sizeof(float));
            inner += dot(x, y, kPad);
        }
        return inner + item_bias(item_row);
    }
};

struct TopKResult {
    std::int32_t* items;  // n_queries x k
    float* scores;
    std::int64_t k;
    std::vector<std::int64_t> size = {};  // found so far

    BestK best(std::int64_t query) { return {scores + query * k, items + query * k, k, size[query]}; }
};

}  // namespace cofactor
