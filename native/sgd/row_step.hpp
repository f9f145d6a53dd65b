// Single rows that take a step each, as training without batches has it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/row.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// What step_row does, with the width known when it is compiled (0: it is not) and Adam's corrections from a table:
// numbers of steps beyond its end need none in float.
template <int kWidth>
class RowStep {
public:
    explicit RowStep(const Table& table) : t_(table), rate_(table.step.learning_rate) {
        if (t_.step.kind != Optimizer::adam) return;
        const double slowest = std::max(t_.step.beta1, t_.step.beta2);
        const double n = slowest > 0 ? kNothing / std::log(slowest) : 0;
        corrections_.reserve(static_cast<std::size_t>(std::min(n, kMost)) + 1);
        double power1 = 1, power2 = 1;
        for (std::size_t k = 0; k < corrections_.capacity(); ++k) {
            power1 *= t_.step.beta1, power2 *= t_.step.beta2;
            corrections_.push_back({static_cast<float>(1 / (1 - power1)), static_cast<float>(1 / (1 - power2))});
        }
    }

    // From now on with that share of the learning rate.
    void slow_down(float share) { rate_ = share * t_.step.learning_rate; }

    // Always inline: a function that only prefetches has no effect that GCC would keep calls for.
    [[gnu::always_inline]] void fetch(std::int64_t row) const {
        const std::ptrdiff_t at = row * width();
        for (std::ptrdiff_t j = 0; j < width(); j += 16) __builtin_prefetch(t_.values + at + j, 1);
        if (t_.second == nullptr) return;
        for (std::ptrdiff_t j = 0; j < width(); j += 16) __builtin_prefetch(t_.second + at + j, 1);
        if (t_.first == nullptr) return;
        for (std::ptrdiff_t j = 0; j < width(); j += 16) __builtin_prefetch(t_.first + at + j, 1);
        __builtin_prefetch(t_.steps + row, 1);
    }

    [[gnu::always_inline]] void operator()(std::int64_t row, const Row<kWidth>& gradient) const {
        if (t_.step.kind == Optimizer::sgd) {
            float* const values = t_.row(row);
            each_vector<kWidth>(width(), [&](auto v) {
                float* const at = values + v * kLanes;
                store(at, load(at) - broadcast(rate_) * gradient.get(v));
            });
        } else if constexpr (kWidth == 0) {
            (*this)(row, gradient.from);
        } else {
            alignas(64) float numbers[kWidth];
            each_vector<kWidth>(kWidth, [&](auto v) { store(numbers + v * kLanes, gradient.get(v)); });
            (*this)(row, numbers);
        }
    }

    [[gnu::always_inline]] void operator()(std::int64_t row, const float* __restrict gradient) const {
        const StepOptions& step = t_.step;
        const std::ptrdiff_t at = row * width();
        float* const __restrict values = t_.values + at;
        if (step.kind == Optimizer::sgd) {
            for (std::ptrdiff_t j = 0; j < width(); ++j) values[j] -= rate_ * gradient[j];
            return;
        }
        float* const __restrict second = t_.second + at;
        if (step.kind == Optimizer::adagrad) {
            for (std::ptrdiff_t j = 0; j < width(); ++j) {
                second[j] += gradient[j] * gradient[j];
                values[j] -= rate_ * gradient[j] / (std::sqrt(second[j]) + step.epsilon);
            }
            return;
        }
        float* const __restrict first = t_.first + at;
        const auto n = static_cast<std::size_t>(t_.steps[row]++);
        const Correction correct = n < corrections_.size() ? corrections_[n] : Correction{1, 1};
        const float rate = rate_ * correct.first, some1 = 1 - step.beta1, some2 = 1 - step.beta2;
        for (std::ptrdiff_t j = 0; j < width(); ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            second[j] += some2 * (gradient[j] * gradient[j] - second[j]);
            values[j] -= rate * first[j] / (std::sqrt(second[j] * correct.second) + step.epsilon);
        }
    }

private:
    struct Correction {
        float first, second;
    };
    static constexpr double kNothing = -18, kMost = 1 << 20;  // e^-18 is nothing beside 1

    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    const Table& t_;
    float rate_;
    std::vector<Correction> corrections_;  // after how many steps
};

}  // namespace cofactor
