// Single rows that take a step each, as training without batches has it.
#pragma once

#include <cstdint>

#include "core/row.hpp"
#include "sgd/step.hpp"
#include "sgd/table.hpp"

namespace cofactor {

// With the width known when this is compiled (0: it is not).
template <int kWidth>
class RowStep {
public:
    explicit RowStep(const Table& table) : t_(table), steps_(table) {}

    // From now on with that share of the learning rate.
    void slow_down(float share) { steps_.slow_down(share); }

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
            const Vec rate = broadcast(steps_.rate());
            each_vector<kWidth>(width(), [&](auto v) {
                float* const at = values + v * kLanes;
                store(at, load(at) - rate * gradient.get(v));
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
        steps_.template step<kWidth>(row, gradient);
    }

private:
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    const Table& t_;
    RowSteps steps_;
};

}  // namespace cofactor
