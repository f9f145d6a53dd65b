#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/parallel.hpp"
#include "retrieval/index.hpp"
#include "topk/codes.hpp"
#include "topk/panels.hpp"

namespace cofactor {

namespace {

struct Placed {
    double key, along, across;
    std::int32_t item;
};

class Packing {
public:
    Packing(const Vectors& items, const IndexParts& index) : items_(items), index_(index), g_(items.factors) {}

    void block(std::int64_t b, std::span<const std::int32_t> run) {
        const double length = direct(run);
        for (std::ptrdiff_t j = 0; j < items_.factors; ++j) {
            index_.directions[(b / kPanel * items_.factors + j) * kPanel + b % kPanel] = static_cast<float>(g_[j]);
        }
        place(run, length);
        double bounds[kBlockBounds] = {kInfinity, -kInfinity, 0, 0, -kInfinity, 0x1p-124};
        for (std::int64_t p = index_.first_panel[b], at = 0; p < index_.first_panel[b + 1]; ++p, at += kPanel) {
            const std::int64_t left = static_cast<std::int64_t>(placed_.size()) - at;
            const PanelBound panel = fill(p, std::span(placed_).subspan(at, std::min<std::int64_t>(kPanel, left)));
            bounds[kLow] = std::min(bounds[kLow], panel.low);
            bounds[kHigh] = std::max(bounds[kHigh], panel.high);
            bounds[kAcross] = std::max(bounds[kAcross], panel.across);
            bounds[kNorm] = std::max(bounds[kNorm], panel.norm);
            bounds[kBias] = std::max(bounds[kBias], panel.bias);
            bounds[kBiasSize] = std::max(bounds[kBiasSize], panel.bias_size);
        }
        for (int i = 0; i < kBlockBounds; ++i) index_.blocks[i * index_.n_blocks() + b] = bounds[i];
    }

private:
    // Makes g the direction of the mean, as float32 has it; returns the length of the mean.
    double direct(std::span<const std::int32_t> run) {
        std::fill(g_.begin(), g_.end(), 0.0);
        for (const std::int32_t i : run) {
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) g_[j] += items_[i][j] / static_cast<double>(run.size());
        }
        double squared = 0;
        for (const double x : g_) squared += x * x;
        const double length = std::sqrt(squared);
        if (!(length > 0)) g_[0] = 1;
        unit_ = 0;
        for (double& x : g_) {
            x = static_cast<float>(length > 0 ? x / length : x);
            unit_ += x * x;
        }
        unit_ = std::sqrt(unit_);  // 1, but for what float32 lost
        return length;
    }

    // The items of a block, those first that score most for a query like its mean.
    void place(std::span<const std::int32_t> run, double length) {
        placed_.clear();
        for (const std::int32_t i : run) {
            double along = 0;
            for (std::ptrdiff_t j = 0; j < items_.factors; ++j) along += items_[i][j] * g_[j];
            along /= unit_;
            const double squared = squares(items_[i], items_.factors);
            const double lost = static_cast<double>(items_.factors) * 0x1p-50 * squared;
            const double across = std::sqrt(std::max(0.0, squared - along * along) + lost);
            const double bias = items_.bias.empty() ? 0.0 : items_.bias[i];
            placed_.push_back({items_.bias.empty() ? along : length * along + bias, along, across, i});
        }
        std::sort(placed_.begin(), placed_.end(), [](const Placed& a, const Placed& b) {
            return a.key > b.key || (a.key == b.key && a.item < b.item);
        });
    }

    PanelBound fill(std::int64_t p, std::span<const Placed> placed) {
        constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();
        PanelBound panel{kInfinity, -kInfinity, 0, 0, 0, -kInfinity, 0x1p-124, 1, kNone, 0};
        float most = 0;
        for (const Placed& one : placed) {
            const double bias = items_.bias.empty() ? 0.0 : items_.bias[one.item];
            most = std::max(most, largest(items_[one.item], items_.factors));
            panel.low = std::min(panel.low, one.along);
            panel.high = std::max(panel.high, one.along);
            panel.across = std::max(panel.across, one.across);
            panel.bias = std::max(panel.bias, bias);
            panel.bias_size = std::max(panel.bias_size, 0x1p-124 + std::fabs(bias));
            panel.first = std::min<double>(panel.first, one.item);
        }
        const double scale = Codes::scale(most);
        const std::int64_t bytes = index_layout(items_.factors).bytes;
        auto* to = reinterpret_cast<Codes::Code*>(index_.codes.data() + p * bytes);
        std::fill_n(index_.places.begin() + p * kPanel, kPanel, -1);
        double squared = 0, missed = 0;
        for (std::size_t i = 0; i < placed.size(); ++i, to += Codes::kStep) {
            const float* y = items_[placed[i].item];
            index_.places[p * kPanel + i] = placed[i].item;
            squared = std::max(squared, squares(y, items_.factors));
            missed = std::max(missed, Codes::encode_item(y, items_.factors, scale, to, kPanel * Codes::kStep));
        }
        panel.norm = std::sqrt(squared);
        panel.error = std::sqrt(missed);
        panel.per_unit = 1 / scale;
        panel.filled = static_cast<double>(placed.size());
        std::copy_n(reinterpret_cast<const double*>(&panel), kPanelBounds, index_.panels.begin() + p * kPanelBounds);
        return panel;
    }

    const Vectors& items_;
    const IndexParts& index_;
    std::vector<double> g_;
    double unit_ = 1;
    std::vector<Placed> placed_;
};

}  // namespace

Layout index_layout(std::ptrdiff_t factors) { return {kPanel, Panels<Codes>::bytes(factors)}; }

void pack_index(const Vectors& items, std::span<const std::int32_t> order, std::span<const std::int64_t> offsets,
                const IndexParts& index, int threads, Interrupt& interrupt) {
    std::fill(index.directions.begin(), index.directions.end(), 0.0f);
    std::fill(index.codes.begin(), index.codes.end(), 0);
    parallel_for(index.n_blocks(), 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        Packing packing(items, index);
        for (std::int64_t b = begin; b < end; ++b) {
            packing.block(b, order.subspan(offsets[b], offsets[b + 1] - offsets[b]));
        }
    });
}

}  // namespace cofactor
