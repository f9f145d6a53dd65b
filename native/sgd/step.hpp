// One step of an optimizer for a row, by vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "sgd/table.hpp"

namespace cofactor {

// What step_row does, for rows of many numbers: all that a step of the whole table has in common is worked out once.
class RowSteps {
public:
    explicit RowSteps(const Table& table)
        : t_(table),
          log_beta1_(std::log(static_cast<double>(table.step.beta1))),
          log_beta2_(std::log(static_cast<double>(table.step.beta2))) {
        if (table.step.kind != Optimizer::adam && table.step.kind != Optimizer::row_adam) return;
        first_steps_.reserve(kFirstSteps);
        for (std::int32_t n = 0; n < kFirstSteps; ++n) first_steps_.push_back(corrected(n));
    }

    void prefetch(std::int64_t r) const {
        const bool by_row = t_.step.kind == Optimizer::row_adam;
        if (by_row) {
            __builtin_prefetch(t_.second + 2 * r);
            __builtin_prefetch(t_.steps + r);
        }
        for (const float* const part : {t_.values, t_.first, by_row ? nullptr : t_.second}) {
            if (part != nullptr) cofactor::prefetch(part + r * t_.width, t_.width);
        }
    }

    void operator()(std::int64_t r, const float* gradient) const { step<0>(r, gradient); }

    // With the width, if it is known when this is compiled.
    template <std::ptrdiff_t kWidth>
    void step(std::int64_t r, const float* __restrict gradient) const {
        const StepOptions& step = t_.step;
        const std::ptrdiff_t width = kWidth > 0 ? kWidth : t_.width;
        const std::int64_t at = r * width;
        float* const __restrict values = t_.values + at;
        if (step.kind == Optimizer::sgd) {
            for (std::ptrdiff_t j = 0; j < width; ++j) values[j] -= step.learning_rate * gradient[j];
            return;
        }
        if (step.kind == Optimizer::row_adam) {
            step_by_row(r, gradient);
            return;
        }
        float* const __restrict second = t_.second + at;
        if (step.kind == Optimizer::adagrad) {
            for (std::ptrdiff_t j = 0; j < width; ++j) {
                second[j] += gradient[j] * gradient[j];
                values[j] -= step.learning_rate * gradient[j] / (std::sqrt(second[j]) + step.epsilon);
            }
            return;
        }
        float* const __restrict first = t_.first + at;
        const std::int32_t n = ++t_.steps[r];
        const auto [rate, second_scale] = n < kFirstSteps ? first_steps_[n] : corrected(n);
        const float some1 = 1 - step.beta1, some2 = 1 - step.beta2;
        for (std::ptrdiff_t j = 0; j < width; ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            second[j] += some2 * (gradient[j] * gradient[j] - second[j]);
            values[j] -= rate * first[j] / (std::sqrt(second[j] * second_scale) + step.epsilon);
        }
    }

    struct Rates {
        float weight, vector;
    };

    // row_adam: another step of a row begins, whose gradient has these squared lengths; what its first moments are
    // multiplied by.
    Rates rates(std::int64_t r, float of_weight, float of_vector) const {
        const StepOptions& step = t_.step;
        float* const second = t_.second + 2 * r;
        const std::int32_t n = ++t_.steps[r];
        const auto [rate, second_scale] = n < kFirstSteps ? first_steps_[n] : corrected(n);
        const float some2 = 1 - step.beta2;
        const float others = static_cast<float>(std::max<std::int64_t>(step.n_coordinates - 1, 1));
        second[0] += some2 * (of_weight - second[0]);
        second[1] += some2 * (std::max(of_vector, 0.0f) / others - second[1]);
        return {rate / (std::sqrt(second[0] * second_scale) + step.epsilon),
                rate / (std::sqrt(second[1] * second_scale) + step.epsilon)};
    }

private:
    void step_by_row(std::int64_t r, const float* __restrict gradient) const {
        const std::ptrdiff_t width = t_.width;
        float* const __restrict values = t_.values + r * width;
        float* const __restrict first = t_.first + r * width;
        Vec squares{};
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) squares += load(gradient + j) * load(gradient + j);
        const float of_weight = gradient[0] * gradient[0];
        const auto [weight_rate, vector_rate] = rates(r, of_weight, sum(squares) - of_weight);
        const float some1 = 1 - t_.step.beta1, weight = values[0];
        for (std::ptrdiff_t j = 0; j < width; ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            values[j] -= vector_rate * first[j];
        }
        values[0] = weight - weight_rate * first[0];
    }

    struct Corrected {
        float rate, second_scale;
    };

    static constexpr std::int32_t kFirstSteps = 1 << 10;  // whose corrections are worked out in advance

    // What makes up for means that began with zeros, at a row's step number n.
    Corrected corrected(std::int32_t n) const {
        return {static_cast<float>(t_.step.learning_rate / -std::expm1(n * log_beta1_)),
                static_cast<float>(1 / -std::expm1(n * log_beta2_))};
    }

    const Table& t_;
    double log_beta1_, log_beta2_;
    std::vector<Corrected> first_steps_;
};

}  // namespace cofactor
