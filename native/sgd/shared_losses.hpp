// Losses of a positive against many negatives, and their derivatives, in place.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/exp.hpp"
#include "core/simd.hpp"
#include "sgd/shared_negatives.hpp"

namespace cofactor {

inline constexpr float kNever = -std::numeric_limits<float>::infinity();  // the score of what is no negative

// What is the same for all positives of a batch.
struct RowTerms {
    std::ptrdiff_t n;      // multiple of kLanes
    float scale;           // z = scale * score + offset
    const float* offsets;  // n: kNever from the last negative on
};

// Of one positive: its loss, the derivative by its score, and what to multiply `scores` with (left by the function
// that computed this) to have the derivatives by the scores of the negatives.
struct RowLoss {
    double loss;
    float by_positive, by_negatives;
};

inline float largest_lane(Vec v) {
    float most = v[0];
    for (int i = 1; i < kLanes; ++i) most = v[i] > most ? v[i] : most;
    return most;
}

struct Exponentials {
    float most;    // of all z, and of what was given
    double total;  // sum of counts exp(z - most)
};

// scores: exp(z - most), times counts unless these are null. NaN in, NaN out.
inline Exponentials exponentials(float* scores, const float* counts, const RowTerms& terms, float most) {
    Vec largest = broadcast(most);
    const Vec scale = broadcast(terms.scale);
    for (std::ptrdiff_t j = 0; j < terms.n; j += kLanes) {
        const Vec z = load(scores + j) * scale + load(terms.offsets + j);
        largest = z > largest ? z : largest;
        store(scores + j, z);
    }
    most = largest_lane(largest);
    Vec total{};
    const Vec shift = broadcast(most == kNever ? 0.0f : most);
    for (std::ptrdiff_t j = 0; j < terms.n; j += kLanes) {
        Vec e = exp(load(scores + j) - shift);
        if (counts != nullptr) e *= load(counts + j);
        store(scores + j, e);
        total += e;
    }
    return {most, sum(total)};
}

inline RowLoss softmax_loss(float* scores, const float* counts, const RowTerms& terms, float positive,
                            const SharedNegatives& options) {
    const float z = positive / options.temperature;
    const auto [most, total] = exponentials(scores, counts, terms, z);
    const double own = std::exp(static_cast<double>(z) - most), all = total + own;
    const double loss = own == 1.0 ? std::log1p(total) : std::log(all) - (static_cast<double>(z) - most);
    const double by = 1 / (all * options.temperature);
    return {loss, static_cast<float>(-total * by), static_cast<float>(by)};
}

// The same times sigmoid((positive - quantile) / quantile_temperature).
inline RowLoss softmax_at_k_loss(float* scores, const float* counts, const RowTerms& terms, float positive,
                                 float quantile, const SharedNegatives& options) {
    const RowLoss inner = softmax_loss(scores, counts, terms, positive, options);
    const double x = (static_cast<double>(positive) - quantile) / options.quantile_temperature;
    const double weight = 1 / (1 + std::exp(-x)), slope = weight / (1 + std::exp(x)) / options.quantile_temperature;
    return {weight * inner.loss, static_cast<float>(weight * inner.by_positive + slope * inner.loss),
            static_cast<float>(weight * inner.by_negatives)};
}

inline RowLoss bsl_loss(float* scores, const float* counts, const RowTerms& terms, float positive,
                        const SharedNegatives& options) {
    const auto [most, total] = exponentials(scores, counts, terms, kNever);
    if (total == 0.0) return {0.0, 0.0f, 0.0f};  // no negatives
    return {most + std::log(total) - static_cast<double>(positive) / options.positive_temperature,
            -1 / options.positive_temperature, static_cast<float>(1 / (total * options.temperature))};
}

// scores: the count of a negative that is above the margin, else 0.
inline RowLoss ccl_loss(float* scores, const float* counts, const RowTerms& terms, float positive,
                        const SharedNegatives& options) {
    const Vec margin = broadcast(options.margin), never = broadcast(kNever), one = broadcast(1.0f);
    Vec excess{}, number{};
    for (std::ptrdiff_t j = 0; j < terms.n; j += kLanes) {
        const Vec z = load(scores + j) * terms.scale + load(terms.offsets + j);
        const Vec count = counts == nullptr ? one : load(counts + j);
        number += z == never ? Vec{} : count;
        const Vec active = z <= margin ? Vec{} : count;  // NaN is active
        excess += z <= margin ? Vec{} : count * (z - margin);
        store(scores + j, active);
    }
    const float n = sum(number), weight = n > 0 ? options.negative_weight / n : 0.0f;
    const float missing = positive >= 1 ? 0.0f : 1 - positive;  // NaN is missing
    return {missing + static_cast<double>(weight) * sum(excess), positive >= 1 ? 0.0f : -1.0f, weight};
}

inline RowLoss row_loss(float* scores, const float* counts, const RowTerms& terms, float positive, std::int64_t user,
                        const SharedNegatives& options) {
    switch (options.loss) {
        case SharedLoss::softmax:
            return softmax_loss(scores, counts, terms, positive, options);
        case SharedLoss::bsl:
            return bsl_loss(scores, counts, terms, positive, options);
        case SharedLoss::ccl:
            return ccl_loss(scores, counts, terms, positive, options);
        case SharedLoss::softmax_at_k:
            break;
    }
    return softmax_at_k_loss(scores, counts, terms, positive, options.quantiles[user], options);
}

}  // namespace cofactor
