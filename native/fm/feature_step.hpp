// The coordinates of features that rows share, by what their ratings add up to (Rendle 2013, relation blocks).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/simd.hpp"
#include "fm/conditional.hpp"
#include "fm/fm.hpp"

namespace cofactor {

inline Vec gather(const float* from, const std::int32_t* at) {
#if defined(__AVX512F__)
    return reinterpret_cast<Vec>(_mm512_i32gather_ps(_mm512_loadu_si512(at), from, 4));
#elif defined(__AVX2__)
    return reinterpret_cast<Vec>(
        _mm256_i32gather_ps(from, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), 4));
#else
    Vec v{};
    for (int i = 0; i < kLanes; ++i) v[i] = from[at[i]];
    return v;
#endif
}

// One side's features. A coordinate's derivatives are x_j (s + q_i) for the ratings i of row u, where s is the row's
// total less what the feature itself adds to it and q the total of the other side: their sums follow from five numbers
// of the row, which are all that a change of the coordinate touches. Residuals get the changes of all features of a
// coordinate at once, in the pass that makes these numbers for the next one.
class FmFeatureStep {
public:
    FmFeatureStep(const Csr& targets, const FmSide& own, std::span<const float> other,
                  std::span<const float> other_weights, const FmPrior& prior, const FmOptions& options,
                  std::span<float> residuals)
        : targets_(targets),
          own_(own),
          other_weights_(other_weights),
          prior_(prior),
          options_(options),
          residuals_(residuals),
          rows_(own.n) {
        n_other_ = static_cast<std::int64_t>(other.size()) / options.width;
        by_coordinate_ = Buffer(static_cast<std::size_t>(n_other_ * options.n_coordinates));
        for (std::int64_t i = 0; i < n_other_; ++i) {
            for (std::int64_t c = 0; c < options.n_coordinates; ++c) {
                by_coordinate_.data()[c * n_other_ + i] = other[i * options.width + c];
            }
        }
    }

    void operator()(int threads, Interrupt& interrupt) {
        for (std::int64_t c = 0; c < options_.n_coordinates && !interrupt.stopped(); ++c) {
            parallel_for(own_.n, 64, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
                for (std::int64_t u = begin; u < end; ++u) sum_up(u, c);
            });
            if (interrupt.stopped()) return;
            for (std::int64_t j = 0; j < own_.columns.n_rows(); ++j) {
                if (c == 0)
                    change_weight(j);
                else
                    change_coordinate(j, c);
                if (j % 4096 == 0) interrupt.check();
            }
        }
        parallel_for(own_.n, 64, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t u = begin; u < end; ++u) sum_up(u, options_.n_coordinates);
        });
    }

private:
    struct Row {
        float n, e, eq, q, qq;      // ratings; sums of residuals, times q, of q and of its square
        float total;                // the coordinate
        float bias_change, change;  // of the row, not yet in its residuals
    };

    // Write what has changed, then make the sums for coordinate c (none for one beyond the last).
    void sum_up(std::int64_t u, std::int64_t c) {
        Row& row = rows_[u];
        const std::int64_t begin = targets_.indptr[u], n = targets_.length(u);
        const std::int32_t* items = targets_.indices.data() + begin;
        float* e = residuals_.data() + begin;
        float* totals = own_.totals + u * options_.width;
        const float* before = by_coordinate_.data() + std::max<std::int64_t>(c - 1, 0) * n_other_;
        const float* now = by_coordinate_.data() + std::min(c, options_.n_coordinates - 1) * n_other_;
        if (c > 0) {
            totals[0] += row.bias_change;
            if (c > 1) totals[c - 1] += row.change;
        }
        Vec sn{}, se{}, seq{}, sq{}, sqq{};
        const Vec bias = broadcast(row.bias_change), by = broadcast(c > 1 ? row.change : 0.0f);
        const float* weights = other_weights_.empty() ? nullptr : other_weights_.data();
        std::int64_t i = 0;
        for (; i + kLanes <= n; i += kLanes) {
            const Vec left = load(e + i) - bias - by * gather(before, items + i), q = gather(now, items + i);
            store(e + i, left);
            const Vec w = weights == nullptr ? broadcast(1.0f) : gather(weights, items + i);
            sn += w;
            se += w * left;
            seq += w * left * q;
            sq += w * q;
            sqq += w * q * q;
        }
        row.n = sum(sn), row.e = sum(se), row.eq = sum(seq), row.q = sum(sq), row.qq = sum(sqq);
        for (; i < n; ++i) {
            const float left = e[i] - row.bias_change - (c > 1 ? row.change : 0.0f) * before[items[i]];
            const float q = now[items[i]], w = weights == nullptr ? 1.0f : weights[items[i]];
            e[i] = left;
            row.n += w, row.e += w * left, row.eq += w * left * q, row.q += w * q, row.qq += w * q * q;
        }
        if (!own_.weights.empty()) {
            const float w = own_.weights[u];
            row.n *= w, row.e *= w, row.eq *= w, row.q *= w, row.qq *= w;
        }
        row.total = c < options_.n_coordinates ? totals[c] : 0.0f;
        row.bias_change = row.change = 0.0f;
    }

    float drawn(std::int64_t j, std::int64_t c, double hh, double he) {
        const std::int64_t at = own_.groups[j] * options_.n_coordinates + c;
        const Conditional of(own_.parts[j * options_.width + c], hh, he, options_.noise_precision, prior_.means[at],
                             prior_.precisions[at]);
        if (!options_.sampled) return static_cast<float>(of.mean);
        return of.draw(~options_.seed, j * options_.n_coordinates + c);  // not the numbers of the ids
    }

    void change_weight(std::int64_t j) {
        double hh = 0.0, he = 0.0;
        for (std::int64_t at = own_.columns.indptr[j]; at < own_.columns.indptr[j + 1]; ++at) {
            const Row& row = rows_[own_.columns.indices[at]];
            const double x = own_.columns.values[at];
            hh += x * x * row.n;
            he += x * row.e;
        }
        float& weight = own_.parts[j * options_.width];
        const float now = drawn(j, 0, hh, he), change = now - weight;
        weight = now;
        for (std::int64_t at = own_.columns.indptr[j]; at < own_.columns.indptr[j + 1]; ++at) {
            Row& row = rows_[own_.columns.indices[at]];
            const float by = change * own_.columns.values[at];
            row.bias_change += by;
            row.e -= by * row.n;
        }
    }

    void change_coordinate(std::int64_t j, std::int64_t c) {
        float& value = own_.parts[j * options_.width + c];
        double hh = 0.0, he = 0.0;
        for (std::int64_t at = own_.columns.indptr[j]; at < own_.columns.indptr[j + 1]; ++at) {
            const Row& row = rows_[own_.columns.indices[at]];
            const float x = own_.columns.values[at], s = row.total - x * value;
            hh += x * x * (s * (row.n * s + 2.0f * row.q) + row.qq);
            he += x * (s * row.e + row.eq);
        }
        const float now = drawn(j, c, hh, he), change = now - value;
        for (std::int64_t at = own_.columns.indptr[j]; at < own_.columns.indptr[j + 1]; ++at) {
            Row& row = rows_[own_.columns.indices[at]];
            const float x = own_.columns.values[at], s = row.total - x * value, by = change * x;
            row.e -= by * (row.n * s + row.q);
            row.eq -= by * (s * row.q + row.qq);
            row.bias_change += by * s;
            row.change += by;
            row.total += by;
        }
        value = now;
    }

    const Csr& targets_;
    const FmSide& own_;
    std::span<const float> other_weights_;
    const FmPrior& prior_;
    const FmOptions& options_;
    std::span<float> residuals_;
    std::int64_t n_other_;
    Buffer by_coordinate_;  // other side, n_coordinates x n_other
    std::vector<Row> rows_;
};

}  // namespace cofactor
