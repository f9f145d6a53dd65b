#include <algorithm>
#include <cmath>
#include <numbers>

#include "fm/fm.hpp"

namespace cofactor {

namespace {

double cumulative(double z) { return 0.5 * std::erfc(-z * std::numbers::sqrt2 * 0.5); }

// a . b of any length, in eight sums that do not wait for each other.
float inner(const float* a, const float* b, std::int64_t n) {
    float parts[8] = {};
    std::int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int j = 0; j < 8; ++j) parts[j] += a[i + j] * b[i + j];
    }
    float rest = 0.0f;
    for (; i < n; ++i) rest += a[i] * b[i];
    for (int j = 0; j < 4; ++j) parts[j] += parts[j + 4];
    return (parts[0] + parts[2]) + (parts[1] + parts[3]) + rest;
}

struct Moments {
    double mean, square;
};

// Of an ordinal rating.
Moments of_levels(double z, const double* cutpoints, std::span<const double> levels) {
    Moments m{0.0, 0.0};
    double below = 0.0;
    for (std::size_t k = 0; k < levels.size(); ++k) {
        const double upto = k + 1 < levels.size() ? cumulative(cutpoints[k] - z) : 1.0;
        m.mean += levels[k] * (upto - below);
        m.square += levels[k] * levels[k] * (upto - below);
        below = upto;
    }
    return m;
}

}  // namespace

void fm_ratings(std::span<const std::int32_t> users, std::span<const std::int32_t> items, const FmSamples& samples,
                std::span<float> means, std::span<float> variances, int threads, Interrupt& interrupt) {
    const std::int64_t n = static_cast<std::int64_t>(users.size()), width = samples.n_coordinates;
    const std::int64_t n_samples = static_cast<std::int64_t>(samples.offsets.size());
    const std::int64_t n_cutpoints = static_cast<std::int64_t>(samples.levels.size()) - 1;
    const auto row = [&](std::span<const float> of, std::span<const float> unknown, std::int32_t at) {
        return at < 0 ? unknown.data() : of.data() + at * n_samples * width;
    };
    parallel_for(n, 256, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t p = begin; p < end; ++p) {
            const float* user = row(samples.users, samples.unknown_user, users[p]);
            const float* item = row(samples.items, samples.unknown_item, items[p]);
            double mean = 0.0, square = 0.0;
            for (std::int64_t k = 0; k < n_samples; ++k, user += width, item += width) {
                const double z = samples.offsets[k] + user[0] + item[0] + inner(user + 1, item + 1, width - 1);
                const Moments m = samples.cutpoints.empty()
                                      ? Moments{z, z * z}
                                      : of_levels(z, samples.cutpoints.data() + k * n_cutpoints, samples.levels);
                mean += m.mean;
                square += m.square;
            }
            mean /= static_cast<double>(n_samples);
            means[p] = static_cast<float>(mean);
            variances[p] = static_cast<float>(std::max(square / static_cast<double>(n_samples) - mean * mean, 0.0));
        }
    });
}

}  // namespace cofactor
