// One step of an optimizer for a row, by vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/row.hpp"
#include "sgd/corrections.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// values[r] moves against the gradient. All that a step of the whole table has in common is worked out once.
class RowSteps {
public:
    explicit RowSteps(const Table& table)
        : t_(table),
          per_coordinate_(1.0f / static_cast<float>(std::max<std::int64_t>(table.step.n_coordinates - 1, 1))),
          corrections_(table.step) {}

    // From now on with that share of the learning rate.
    void slow_down(float share) { share_ = share; }
    float rate() const { return share_ * t_.step.learning_rate; }

    [[gnu::always_inline]] void prefetch(std::int64_t r) const {
        cofactor::prefetch(t_.row(r), t_.width);
        prefetch_state(r);
    }

    // What the optimizer keeps of the row.
    [[gnu::always_inline]] void prefetch_state(std::int64_t r) const {
        if (t_.first != nullptr) cofactor::prefetch(t_.first + r * t_.width, t_.width);
        if (t_.step.kind == Optimizer::row_adam) {
            __builtin_prefetch(t_.second + 2 * r);
            __builtin_prefetch(t_.steps + r);
        } else if (t_.second != nullptr) {
            cofactor::prefetch(t_.second + r * t_.width, t_.width);
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
        const float plain_rate = rate();
        if (step.kind == Optimizer::sgd) {
            for (std::ptrdiff_t j = 0; j < width; ++j) values[j] -= plain_rate * gradient[j];
            return;
        }
        float* const __restrict second = t_.second + at;
        if (step.kind == Optimizer::adagrad) {
            for (std::ptrdiff_t j = 0; j < width; ++j) {
                second[j] += gradient[j] * gradient[j];
                values[j] -= plain_rate * gradient[j] / (std::sqrt(second[j]) + step.epsilon);
            }
            return;
        }
        float* const __restrict first = t_.first + at;
        const auto [first_scale, second_scale] = corrections_[t_.steps[r]++];
        const float rate = plain_rate * first_scale, some1 = 1 - step.beta1, some2 = 1 - step.beta2;
        for (std::ptrdiff_t j = 0; j < width; ++j) {
            first[j] += some1 * (gradient[j] - first[j]);
            second[j] += some2 * (gradient[j] * gradient[j] - second[j]);
            values[j] -= rate * first[j] / (std::sqrt(second[j] * second_scale) + step.epsilon);
        }
    }

    // The same by row_adam. own: the row; of_weight: the first number of the gradient, whatever that of `gradient` is;
    // squares: the squared length of all others.
    template <int kWidth>
    [[gnu::always_inline]] void by_row(std::int64_t r, const Row<kWidth>& own, const Row<kWidth>& gradient,
                                       float of_weight, float squares) const {
        const std::ptrdiff_t width = kWidth > 0 ? kWidth : t_.width;
        float* const __restrict values = t_.values + r * width;
        float* const __restrict first = t_.first + r * width;
        const auto [weight_rate, vector_rate] = rates(r, of_weight * of_weight, squares);
        const float some1 = 1 - t_.step.beta1, moment = first[0] + some1 * (of_weight - first[0]);
        const float weight = own.first() - weight_rate * moment;
        each_vector<kWidth>(width, [&](auto v) {
            const Vec x = own.get(v), before = load(first + v * kLanes);
            const Vec mean = before + broadcast(some1) * (gradient.get(v) - before);
            store(first + v * kLanes, mean);
            store(values + v * kLanes, x - broadcast(vector_rate) * mean);
        });
        first[0] = moment;
        values[0] = weight;
    }

private:
    struct Rates {
        float weight, vector;
    };

    // Another step of a row begins, whose gradient has these squared lengths; what its first moments are multiplied by.
    Rates rates(std::int64_t r, float of_weight, float of_vector) const {
        const StepOptions& step = t_.step;
        float* const second = t_.second + 2 * r;
        const auto [first_scale, second_scale] = corrections_[t_.steps[r]++];
        const float rate = this->rate() * first_scale, some2 = 1 - step.beta2;
        second[0] += some2 * (of_weight - second[0]);
        second[1] += some2 * (std::max(of_vector, 0.0f) * per_coordinate_ - second[1]);
        return {rate / (std::sqrt(second[0] * second_scale) + step.epsilon),
                rate / (std::sqrt(second[1] * second_scale) + step.epsilon)};
    }

    const Table& t_;
    float share_ = 1, per_coordinate_;
    Corrections corrections_;
};

}  // namespace cofactor
