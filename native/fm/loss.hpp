// What descent of a machine goes by: the loss of a rating, and its slope in what is predicted.
#pragma once

#include <algorithm>
#include <cmath>

#include "fm/fm.hpp"

namespace cofactor {

// Of losses that have a sigmoid.
[[gnu::noinline]] inline float slope_of_curve(const FmEpoch& o, double& loss, float target, float score) {
    const double share = 1.0 / (1.0 + std::exp(-static_cast<double>(score)));
    if (o.logistic) {
        // -log sigmoid(score) of a target of 1, -log sigmoid(-score) of one of 0
        const double away = target > 0.5f ? -score : score;
        loss = std::max(away, 0.0) + std::log1p(std::exp(-std::abs(away)));
        return static_cast<float>(share - target);
    }
    const double span = o.span, error = span * share - target;
    loss = error * error;
    return static_cast<float>(2.0 * error * span * share * (1.0 - share));
}

// Times scale.
[[gnu::always_inline]] inline float slope_of_loss(const FmEpoch& o, double& loss, float target, float score,
                                                  float scale) {
    if (o.logistic || o.span > 0.0f) return scale * slope_of_curve(o, loss, target, score);
    const float error = score - target;
    loss = static_cast<double>(error) * error;
    return 2.0f * scale * error;
}

}  // namespace cofactor
