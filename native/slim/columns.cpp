#include "slim/columns.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "slim/covariance.hpp"
#include "slim/residual.hpp"

namespace cofactor {

namespace {

// One thread's work space and the column that it is at.
template <class Gradients>
class SlimColumn {
public:
    SlimColumn(const SlimData& data, const SlimOptions& options)
        : data_(data),
          options_(options),
          set_(data, options.max_active),
          weights_(padded(set_.most())),
          old_(padded(set_.most())),
          by_(padded(set_.most())),
          marked_(data.n_items(), 0) {
        candidates_.reserve(data.n_items());
        joining_.reserve(data.n_items());
        ranked_.reserve(data.n_items());
        support_.reserve(set_.most());
    }

    SlimStatus solve(std::int64_t item, const Csr* start) {
        item_ = item;
        norm_ = data_.squares[item];
        candidates_.clear();
        support_.clear();
        set_.begin(item);
        if (norm_ > 0) choose_candidates();
        if (candidates_.empty()) return SlimStatus::converged;
        if (start != nullptr && !take_over(*start)) return SlimStatus::too_many;
        return descend();
    }

    // Weights of the column, ascending by item, at most top_n of them; returns how many.
    std::int32_t write(std::int32_t* items, float* values) {
        ranked_.clear();
        for (std::int64_t at = 0; at < set_.size(); ++at) {
            if (weight(at) != 0) ranked_.push_back({std::abs(weight(at)), set_.item(at), weight(at)});
        }
        keep_best(options_.top_n);
        std::sort(ranked_.begin(), ranked_.end(), [](const auto& a, const auto& b) { return a.item < b.item; });
        for (std::size_t at = 0; at < ranked_.size(); ++at) {
            items[at] = ranked_[at].item;
            values[at] = ranked_[at].weight;
        }
        return static_cast<std::int32_t>(ranked_.size());
    }

private:
    static constexpr std::int64_t kFirst = 128;  // items of the first working set; as many as have weights join later
    static constexpr float kCloser = 0.25f;      // sweeps end when the farthest step is that part of what is allowed
    static constexpr float kLoose = 0.1f;        // while others have to join: that part of the farthest of them
    // Sweeps before all weights are solved for at once: two, and one more for so many weights.
    static constexpr std::int64_t kSweeps = 2, kPerSweep = 256;

    struct Ranked {
        float rank;
        std::int32_t item;
        float weight;
    };

    float weight(std::int64_t at) const { return weights_.data()[at]; }
    float curvature(std::int32_t item) const { return data_.squares[item] + options_.l2; }

    // With X >= 0 and w >= 0 no weight makes another item's gradient larger: what is not above l1 now never gets one.
    void choose_candidates() {
        if (options_.non_negative || options_.neighbours > 0) {
            set_.over_reached([&](std::int32_t i) {
                if (i != item_) candidates_.push_back(i);
            });
        } else {
            for (std::int32_t i = 0; i < data_.n_items(); ++i) {
                if (i != item_ && data_.squares[i] > 0) candidates_.push_back(i);
            }
        }
        if (options_.neighbours > 0 && std::ssize(candidates_) > options_.neighbours) {
            ranked_.clear();
            for (const std::int32_t i : candidates_) {
                ranked_.push_back({set_.of_all(i) / std::sqrt(data_.squares[i]), i, 0});
            }
            keep_best(options_.neighbours);
            candidates_.clear();
            for (const Ranked& r : ranked_) candidates_.push_back(r.item);
        }
        if (options_.non_negative) {
            std::erase_if(candidates_, [&](std::int32_t i) { return set_.of_all(i) <= options_.l1; });
        }
    }

    void keep_best(std::int64_t most) {  // the largest ranks, ties by item; 0: all
        if (most == 0 || std::ssize(ranked_) <= most) return;
        std::nth_element(ranked_.begin(), ranked_.begin() + most, ranked_.end(), [](const Ranked& a, const Ranked& b) {
            return a.rank > b.rank || (a.rank == b.rank && a.item < b.item);
        });
        ranked_.resize(most);
    }

    // The square of the step that coordinate i would take from w with gradient g, times its curvature: twice what that
    // step would take off the loss. A column is done when this is at most tolerance^2 |x|^2 for every item.
    float distance(float w, float g, float curvature) const {
        const float d = g - options_.l2 * w;
        const float off = w > 0                   ? std::abs(d - options_.l1)
                          : w < 0                 ? std::abs(d + options_.l1)
                          : options_.non_negative ? std::max(0.0f, d - options_.l1)
                                                  : std::max(0.0f, std::abs(d) - options_.l1);
        return off * off / curvature;
    }
    float allowed() const { return options_.tolerance * options_.tolerance * norm_; }

    // Those of the given weights that may stay.
    bool take_over(const Csr& start) {
        joining_.clear();
        for (const std::int32_t i : candidates_) marked_[i] = 1;
        for (std::int64_t e = start.indptr[item_]; e < start.indptr[item_ + 1]; ++e) {
            const float w = start.values[e];
            if (marked_[start.indices[e]] && (options_.non_negative ? w > 0 : w != 0)) {
                joining_.push_back(start.indices[e]);
            }
        }
        for (const std::int32_t i : candidates_) marked_[i] = 0;
        if (!join()) return false;
        for (std::int64_t at = 0, e = start.indptr[item_]; at < set_.size(); ++e) {
            if (start.indices[e] == set_.item(at)) weights_.data()[at++] = start.values[e];
        }
        if (set_.size() > 0) set_.take_all(weights_.data(), candidates_);
        return true;
    }

    // Candidates out of the working set whose distance is above `least`, the farthest first, into joining_.
    float most_violating(std::int64_t most, float least) {
        float worst = 0;
        ranked_.clear();
        for (const std::int32_t i : candidates_) {
            if (set_.holds(i)) continue;
            const float far = distance(0.0f, set_.of_all(i), curvature(i));
            worst = std::max(worst, far);
            if (far > least) ranked_.push_back({far, i, 0});
        }
        keep_best(most);
        std::sort(ranked_.begin(), ranked_.end(), [](const Ranked& a, const Ranked& b) {
            return a.rank > b.rank || (a.rank == b.rank && a.item < b.item);
        });
        joining_.clear();
        for (const Ranked& r : ranked_) joining_.push_back(r.item);
        return worst;
    }

    // Adds joining_ to the working set, while of_all() is the gradient at its weights.
    bool join() {
        const std::int64_t size = set_.size() + std::ssize(joining_);
        if (size > set_.most()) return false;
        std::fill(weights_.data() + set_.size(), weights_.data() + padded(size), 0.0f);
        set_.join(joining_, weights_.data());
        return true;
    }

    SlimStatus descend() {
        std::int64_t left = options_.iterations;
        float outside = most_violating(kFirst, 0.0f);
        for (;;) {
            if (!join()) return SlimStatus::too_many;
            const bool complete = set_.size() == std::ssize(candidates_);
            set_.refresh(weights_.data());
            sweep_until(kCloser * std::max(allowed(), complete ? 0.0f : kLoose * outside), left);
            set_.refresh(weights_.data());
            float inside = 0;
            for (std::int64_t at = 0; at < set_.size(); ++at) {
                inside = std::max(inside, distance(weight(at), set_.gradient(at), curvature(set_.item(at))));
            }
            outside = 0;
            joining_.clear();
            if (!complete) {
                set_.take_all(weights_.data(), candidates_);
                outside = most_violating(std::max<std::int64_t>(kFirst, std::ssize(support_)), allowed());
            }
            if (std::max(inside, outside) <= allowed()) return SlimStatus::converged;
            if (left <= 0) return SlimStatus::unfinished;
        }
    }

    // Sweeps over the working set, in between over those with weights, until a whole one moves nobody far.
    void sweep_until(float least, std::int64_t& left) {
        while (left > 0) {
            --left;
            float far = 0;
            for (std::int64_t at = 0; at < set_.size(); ++at) far = std::max(far, step(at));
            support_.clear();
            for (std::int64_t at = 0; at < set_.size(); ++at) {
                if (weight(at) != 0) support_.push_back(static_cast<std::int32_t>(at));
            }
            if (far <= least) return;
            std::int64_t pause = kSweeps + std::ssize(support_) / kPerSweep;
            for (std::int64_t until = pause; far > least && left > 0; --until) {
                if (until == 0) {
                    pause *= solve_support() ? 1 : 2;
                    until = pause;
                }
                --left;
                far = 0;
                for (const std::int32_t at : support_) far = std::max(far, step(at));
            }
        }
    }

    // Moves the weights that are not zero to where the loss is least, those that would change their sign to zero;
    // whether that made the loss smaller. Otherwise they stay.
    bool solve_support() {
        if constexpr (requires { set_.solve(support_, 0.0f, nullptr); }) {
            std::erase_if(support_, [&](std::int32_t at) { return weight(at) == 0; });
            if (std::ssize(support_) > set_.most_solved()) return false;
            const std::size_t n = support_.size();
            set_.refresh(weights_.data());
            const double before = loss_of_support();
            for (std::size_t k = 0; k < n; ++k) {
                const float w = old_.data()[k] = weight(support_[k]);
                by_.data()[k] = set_.gradient(support_[k]) - options_.l2 * w - std::copysign(options_.l1, w);
            }
            if (!set_.solve(support_, options_.l2, by_.data())) return false;
            for (std::size_t k = 0; k < n; ++k) {
                const float w = old_.data()[k], moved = w + by_.data()[k];
                weights_.data()[support_[k]] = w * moved > 0 ? moved : 0;
            }
            set_.refresh(weights_.data());
            if (loss_of_support() < before) return true;
            for (std::size_t k = 0; k < n; ++k) weights_.data()[support_[k]] = old_.data()[k];
            set_.refresh(weights_.data());
        }
        return false;
    }

    // |X w|^2 / 2 - x'X w and the penalties, after refresh().
    double loss_of_support() const {
        double loss = 0;
        for (const std::int32_t at : support_) {
            const double w = weight(at);
            loss += w * (options_.l2 * w - set_.target(at) - set_.gradient(at)) / 2 + options_.l1 * std::abs(w);
        }
        return loss;
    }

    // Minimises the loss over one weight; returns its distance.
    float step(std::int64_t at) {
        const std::int32_t i = set_.item(at);
        const float old = weight(at), rho = set_.gradient(at) + data_.squares[i] * old;
        float next = std::max(0.0f, rho - options_.l1);
        if (!options_.non_negative && rho < 0) next = std::min(0.0f, rho + options_.l1);
        next /= curvature(i);
        const float by = next - old;
        if (by == 0) return 0;
        weights_.data()[at] = next;
        set_.move(at, by);
        return by * by * curvature(i);
    }

    const SlimData& data_;
    const SlimOptions& options_;
    Gradients set_;    // of the working set, which it also lists
    Buffer weights_;   // of the working set
    Buffer old_, by_;  // where solve_support() came from, and how far it goes
    std::vector<std::int8_t> marked_;
    std::vector<std::int32_t> candidates_, joining_, support_;
    std::vector<Ranked> ranked_;
    std::int64_t item_ = 0;
    float norm_ = 0;
};

template <class Gradients>
void slim_columns_by(const SlimData& data, const SlimOptions& options, const Csr* start, std::int64_t begin,
                     std::int64_t end, std::int32_t* out_counts, std::int32_t* out_items, float* out_values,
                     std::uint8_t* out_status, int threads, Interrupt& interrupt) {
    std::vector<SlimColumn<Gradients>> columns;
    threads = static_cast<int>(std::clamp<std::int64_t>(end - begin, 1, threads));
    columns.reserve(threads);
    for (int worker = 0; worker < threads; ++worker) columns.emplace_back(data, options);
    parallel_for(end - begin, 1, threads, interrupt, [&](std::int64_t first, std::int64_t last, int worker) {
        for (std::int64_t c = first; c < last; ++c) {
            out_status[c] = static_cast<std::uint8_t>(columns[worker].solve(begin + c, start));
            out_counts[c] = columns[worker].write(out_items + c * data.n_items(), out_values + c * data.n_items());
        }
    });
}

}  // namespace

void slim_columns(const SlimData& data, const SlimOptions& options, const Csr* start, std::int64_t begin,
                  std::int64_t end, std::int32_t* out_counts, std::int32_t* out_items, float* out_values,
                  std::uint8_t* out_status, int threads, Interrupt& interrupt) {
    const auto solve = data.gramian != nullptr ? &slim_columns_by<SlimCovariance> : &slim_columns_by<SlimResidual>;
    solve(data, options, start, begin, end, out_counts, out_items, out_values, out_status, threads, interrupt);
}

}  // namespace cofactor
