// The coordinates of one row's id: given all else they depend on the row's own ratings only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/padded.hpp"
#include "core/simd.hpp"
#include "fm/conditional.hpp"
#include "fm/fm.hpp"

namespace cofactor {

// Of one row: its id's coordinates, its totals, and what it takes to change them in the cache.
class FmRowStep {
public:
    // work: see work_size
    FmRowStep(const FmOptions& options, std::span<const float> other, std::span<const float> other_weights,
              const FmPrior& prior, float* work, std::int64_t longest)
        : options_(options),
          other_(other),
          other_weights_(other_weights),
          prior_(prior),
          stride_(stride(longest)),
          derivatives_(work) {
        residuals_ = derivatives_ + stride_ * options.width;
        others_ = residuals_ + stride_;
        padding_ = others_ + options.width;
        roots_ = padding_ + options.width;
    }

    static std::int64_t work_size(const FmOptions& options, std::int64_t longest) {
        return stride(longest) * (options.width + 2) + 2 * options.width;
    }

    // n ratings: items and targets, all of a weight. What they leave is in residuals() after it, padded with zeros.
    // O(n n_coordinates passes): each coordinate takes a pass over its derivatives, which stay in the cache.
    void operator()(std::int64_t row, std::span<const std::int32_t> items, const float* targets, float weight,
                    float* ids, float* totals) {
        const std::int64_t n = static_cast<std::int64_t>(items.size());
        padded_ = (n + kLanes - 1) / kLanes * kLanes;
        for (std::int64_t c = 1; c < options_.n_coordinates; ++c) others_[c] = totals[c] - ids[c];
        transpose(items);
        start(n, targets, totals);
        const std::int64_t at = row * options_.n_coordinates;
        for (int pass = 0; pass < options_.passes; ++pass) {
            float change = 0.0f;
            std::int64_t changed = 0;
            for (std::int64_t c = 0; c < options_.n_coordinates; ++c) {
                const float* h = derivatives_ + c * stride_;
                const auto [hh, he] = moments(h, change, derivatives_ + changed * stride_);
                const Conditional of(ids[c], hh, he, options_.noise_precision * weight, prior_.means[c],
                                     prior_.precisions[c]);
                const float now = options_.sampled ? of.draw(options_.seed, at + c) : static_cast<float>(of.mean);
                change = now - ids[c];
                changed = c;
                ids[c] = now;
                totals[c] += change;
                if (c > 0) totals[0] += change * others_[c];
            }
            axpy(-change, derivatives_ + changed * stride_, residuals_, padded_);
        }
        for (std::int64_t i = 0; i < n && !other_weights_.empty(); ++i) residuals_[i] /= roots_[i];
    }

    const float* residuals() const { return residuals_; }

private:
    static std::int64_t stride(std::int64_t longest) { return padded(longest) + kPad; }  // not a power of two

    // derivatives[c] of all ratings: what the rating grows by with coordinate c; zero beyond the last one. With
    // weights, all that belongs to a rating is multiplied by the root of its weight, so that squares and products have
    // it.
    void transpose(std::span<const std::int32_t> items) {
        const std::int64_t n = static_cast<std::int64_t>(items.size()), width = options_.width;
        others_[0] = 0.0f;
        std::fill(others_ + options_.n_coordinates, others_ + width, 0.0f);
        for (std::int64_t c = 0; c < width; ++c) padding_[c] = -others_[c];
        for (std::int64_t at = 0; at < n; at += kLanes) {
            const float* from[kLanes];
            for (int r = 0; r < kLanes; ++r) {
                from[r] = at + r < n ? other_.data() + items[at + r] * width : padding_;
            }
            for (int r = 0; r < kLanes; ++r) {
                const bool weighed = at + r < n && !other_weights_.empty();
                roots_[at + r] = weighed ? std::sqrt(other_weights_[items[at + r]]) : 1.0f;
            }
            const Vec roots = load(roots_ + at);
            for (std::int64_t c = 0; c < options_.n_coordinates; c += kLanes) {
                Vec rows[kLanes];
                for (int r = 0; r < kLanes; ++r) rows[r] = load(from[r] + c);
                transpose_lanes(rows);
                for (int r = 0; r < kLanes; ++r) {
                    store(derivatives_ + (c + r) * stride_ + at, roots * (rows[r] + broadcast(others_[c + r])));
                }
            }
        }
    }

    // residuals; and the derivative by the weight, 1, where the other side's biases were
    void start(std::int64_t n, const float* targets, const float* totals) {
        double base = static_cast<double>(options_.offset) + totals[0];
        for (std::int64_t c = 1; c < options_.n_coordinates; ++c) base -= static_cast<double>(totals[c]) * others_[c];
        std::copy_n(targets, n, residuals_);
        std::fill(residuals_ + n, residuals_ + padded_, 0.0f);
        const Vec below = broadcast(static_cast<float>(base));
        for (std::int64_t i = 0; i < padded_; i += kLanes) {
            Vec predicted = load(roots_ + i) * below + load(derivatives_ + i);
            for (std::int64_t c = 1; c < options_.n_coordinates; ++c) {
                predicted += broadcast(totals[c]) * load(derivatives_ + c * stride_ + i);
            }
            store(residuals_ + i, load(roots_ + i) * load(residuals_ + i) - predicted);
        }
        std::fill(residuals_ + n, residuals_ + padded_, 0.0f);
        std::copy_n(roots_, n, derivatives_);
        std::fill(derivatives_ + n, derivatives_ + padded_, 0.0f);
    }

    struct Moments {
        double hh, he;
    };

    // After the residuals have got the change of the coordinate before.
    Moments moments(const float* h, float change, const float* before) {
        Vec hh{}, he{};
        const Vec by = broadcast(change);
        for (std::int64_t i = 0; i < padded_; i += kLanes) {
            const Vec e = load(residuals_ + i) - by * load(before + i), now = load(h + i);
            store(residuals_ + i, e);
            hh += now * now;
            he += now * e;
        }
        return {sum(hh), sum(he)};
    }

    const FmOptions& options_;
    std::span<const float> other_, other_weights_;
    const FmPrior& prior_;
    std::int64_t stride_, padded_ = 0;
    float *derivatives_, *residuals_, *others_, *padding_, *roots_;
};

}  // namespace cofactor
