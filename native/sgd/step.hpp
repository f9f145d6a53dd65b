// One step of an optimizer for a row, by vectors.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "sgd/table.hpp"

namespace cofactor {

// What step_row does, for rows of many numbers: all that a step of the whole table has in common is worked out once.
class RowSteps {
public:
    explicit RowSteps(const Table& table)
        : t_(table),
          log_beta1_(std::log(static_cast<double>(table.step.beta1))),
          log_beta2_(std::log(static_cast<double>(table.step.beta2))) {}

    void prefetch(std::int64_t r) const {
        for (const float* const part : {t_.values, t_.first, t_.second}) {
            if (part != nullptr) cofactor::prefetch(part + r * t_.width, t_.width);
        }
    }

    void operator()(std::int64_t r, const float* __restrict gradient) const {
        const StepOptions& step = t_.step;
        const std::int64_t at = r * t_.width;
        float* const __restrict values = t_.values + at;
        if (step.kind == Optimizer::sgd) {
            for (std::ptrdiff_t j = 0; j < t_.width; ++j) values[j] -= step.learning_rate * gradient[j];
            return;
        }
        float* const __restrict second = t_.second + at;
        if (step.kind == Optimizer::adagrad) {
            for (std::ptrdiff_t j = 0; j < t_.width; ++j) {
                second[j] += gradient[j] * gradient[j];
                values[j] -= step.learning_rate * gradient[j] / (std::sqrt(second[j]) + step.epsilon);
            }
            return;
        }
        float* const __restrict first = t_.first + at;
        const auto n = static_cast<double>(++t_.steps[r]);
        const auto rate = static_cast<float>(step.learning_rate / -std::expm1(n * log_beta1_));
        const auto second_scale = static_cast<float>(1 / -std::expm1(n * log_beta2_));
        const float some1 = 1 - step.beta1, some2 = 1 - step.beta2;
        for (std::ptrdiff_t j = 0; j < t_.width; ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            second[j] += some2 * (gradient[j] * gradient[j] - second[j]);
            values[j] -= rate * first[j] / (std::sqrt(second[j] * second_scale) + step.epsilon);
        }
    }

private:
    const Table& t_;
    double log_beta1_, log_beta2_;
};

}  // namespace cofactor
