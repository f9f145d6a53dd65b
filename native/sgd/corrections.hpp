// What makes up for Adam's means having begun with zeros.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sgd/table.hpp"

namespace cofactor {

// What the means of gradients and of their squares are multiplied by, from a table: numbers of steps beyond its end
// need nothing in float.
class Corrections {
public:
    struct Factors {
        float first, second;
    };

    explicit Corrections(const StepOptions& step) {
        if (step.kind != Optimizer::adam && step.kind != Optimizer::row_adam) return;
        const double slowest = std::max(step.beta1, step.beta2);
        const double n = slowest > 0 ? kNothing / std::log(slowest) : 0;
        after_.reserve(static_cast<std::size_t>(std::min(n, kMost)) + 1);
        double power1 = 1, power2 = 1;
        for (std::size_t k = 0; k < after_.capacity(); ++k) {
            power1 *= step.beta1, power2 *= step.beta2;
            after_.push_back({static_cast<float>(1 / (1 - power1)), static_cast<float>(1 / (1 - power2))});
        }
    }

    // For a row's step number n, from 0.
    Factors operator[](std::int32_t n) const {
        return static_cast<std::size_t>(n) < after_.size() ? after_[n] : Factors{1, 1};
    }

private:
    static constexpr double kNothing = -18, kMost = 1 << 20;  // e^-18 is nothing beside 1

    std::vector<Factors> after_;
};

}  // namespace cofactor
