// Single rows that take a step each, as training without batches has it.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/row.hpp"
#include "sgd/corrections.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// What step_row does, with the width known when it is compiled (0: it is not) and Adam's corrections from a table.
template <int kWidth>
class RowStep {
public:
    explicit RowStep(const Table& table) : t_(table), rate_(table.step.learning_rate), corrections_(table.step) {}

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
        const Corrections::Factors correct = corrections_[t_.steps[row]++];
        const float rate = rate_ * correct.first, some1 = 1 - step.beta1, some2 = 1 - step.beta2;
        for (std::ptrdiff_t j = 0; j < width(); ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            second[j] += some2 * (gradient[j] * gradient[j] - second[j]);
            values[j] -= rate * first[j] / (std::sqrt(second[j] * correct.second) + step.epsilon);
        }
    }

private:
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    const Table& t_;
    float rate_;
    Corrections corrections_;
};

}  // namespace cofactor
