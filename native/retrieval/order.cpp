#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "retrieval/index.hpp"

namespace cofactor {

namespace {

float inner(const float* a, const float* b, std::ptrdiff_t n) {
    Vec sums{};
    std::ptrdiff_t j = 0;
    for (; j + kLanes <= n; j += kLanes) sums += load(a + j) * load(b + j);
    float all = sum(sums);
    for (; j < n; ++j) all += a[j] * b[j];
    return all;
}

// Cuts a run of items in two by 2-means of a sample of them.
class Bisection {
public:
    explicit Bisection(const Vectors& items)
        : items_(items), mean_(items.factors), cut_(items.factors), sums_(2 * items.factors) {}

    // Where the second half begins, after the items have been put into their halves.
    std::int64_t operator()(std::span<std::int32_t> run) {
        take_sample(run);
        along_the_longest_axis();
        for (int i = 0; i < kRounds && around_two_means(); ++i) {
        }
        const auto middle = std::partition(run.begin(), run.end(), [&](std::int32_t i) { return side(items_[i]) > 0; });
        const auto first = static_cast<std::int64_t>(middle - run.begin()), n = static_cast<std::int64_t>(run.size());
        return std::min(first, n - first) >= n / 16 + 1 ? first : at_the_median(run);
    }

private:
    static constexpr std::int64_t kSample = 512;
    static constexpr int kPowers = 4, kRounds = 6;

    float side(const float* y) const { return inner(y, cut_.data(), items_.factors) - level_; }

    void take_sample(std::span<const std::int32_t> run) {
        const auto n = static_cast<std::int64_t>(run.size()), size = std::min(n, kSample);
        sample_.clear();
        for (std::int64_t i = 0; i < size; ++i) sample_.push_back(items_[run[i * n / size]]);
        std::fill(mean_.begin(), mean_.end(), 0.0f);
        for (const float* y : sample_) {
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) mean_[j] += y[j] / static_cast<float>(size);
        }
    }

    // Some steps of the power iteration, from the sample's vector that is farthest from the mean.
    void along_the_longest_axis() {
        double farthest = -1;
        for (const float* y : sample_) {
            double away = 0;
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) away += (y[j] - mean_[j]) * (y[j] - mean_[j]);
            if (!(away > farthest)) continue;
            farthest = away;
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) cut_[j] = y[j] - mean_[j];
        }
        for (int i = 0; i < kPowers; ++i) {
            double squared = 0;
            for (const float c : cut_) squared += static_cast<double>(c) * c;
            if (!(squared > 0)) break;
            const auto scale = static_cast<float>(1 / std::sqrt(squared));
            for (float& c : cut_) c *= scale;
            level_ = inner(mean_.data(), cut_.data(), items_.factors);
            std::fill(sums_.begin(), sums_.end(), 0.0f);
            for (const float* y : sample_) {
                const float at = side(y);
                for (std::ptrdiff_t j = 0; j < items_.factors; ++j) sums_[j] += at * (y[j] - mean_[j]);
            }
            std::copy_n(sums_.begin(), items_.factors, cut_.begin());
        }
        level_ = inner(mean_.data(), cut_.data(), items_.factors);
    }

    // The plane between the means of the two sides; false where one is empty.
    bool around_two_means() {
        float count[2] = {};
        std::fill(sums_.begin(), sums_.end(), 0.0f);
        for (const float* y : sample_) {
            const int half = side(y) > 0 ? 1 : 0;
            float* to = sums_.data() + half * items_.factors;
            ++count[half];
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) to[j] += y[j];
        }
        if (count[0] == 0 || count[1] == 0) return false;
        level_ = 0;
        for (std::ptrdiff_t j = 0; j < items_.factors; ++j) {
            const float low = sums_[j] / count[0], high = sums_[j + items_.factors] / count[1];
            cut_[j] = high - low;
            level_ += (high - low) * (high + low) / 2;
        }
        return true;
    }

    std::int64_t at_the_median(std::span<std::int32_t> run) {
        std::vector<std::pair<float, std::int32_t>> keyed;
        for (const std::int32_t i : run) {
            const float key = side(items_[i]);
            keyed.emplace_back(std::isnan(key) ? 0 : key, i);  // of products that overflow
        }
        const auto middle = static_cast<std::int64_t>(run.size() / 2);
        std::nth_element(keyed.begin(), keyed.begin() + middle, keyed.end());
        for (std::size_t i = 0; i < run.size(); ++i) run[i] = keyed[i].second;
        return middle;
    }

    const Vectors& items_;
    std::vector<const float*> sample_;
    std::vector<float> mean_, cut_, sums_;
    float level_ = 0;
};

}  // namespace

std::int64_t cut_blocks(const Vectors& items, std::span<std::int32_t> order, std::span<const std::int64_t> given,
                        std::span<std::int64_t> offsets, std::int64_t most, int threads, Interrupt& interrupt) {
    std::vector<std::int64_t> ends(given.begin(), given.end()), middles, next;
    for (bool cut = true; cut && !interrupt.stopped();) {  // every block that is too large, in two
        middles.assign(ends.size() - 1, 0);
        parallel_for(middles.size(), 1, threads, interrupt, [&](std::int64_t begin, std::int64_t, int) {
            const std::int64_t first = ends[begin], n = ends[begin + 1] - first;
            if (n > most) middles[begin] = first + Bisection(items)(order.subspan(first, n));
        });
        next.clear();
        cut = false;
        for (std::size_t i = 0; i < middles.size(); ++i) {
            next.push_back(ends[i]);
            if (middles[i] != 0) next.push_back(middles[i]);
            cut = cut || middles[i] != 0;
        }
        next.push_back(ends.back());
        std::swap(ends, next);
    }
    std::copy(ends.begin(), ends.begin() + std::min(ends.size(), offsets.size()), offsets.begin());
    return static_cast<std::int64_t>(ends.size()) - 1;
}

}  // namespace cofactor
