// Positives with one negative each, several at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/row.hpp"
#include "core/simd.hpp"
#include "sgd/pair_terms.hpp"
#include "sgd/pairwise.hpp"
#include "sgd/row_step.hpp"

namespace cofactor {

// What they do one after the other. The loss of a sample is a chain of some sixty dependent operations, longer than all
// that its rows take; those of a group run side by side. That changes nothing, as no two samples of it share a row:
// who would is `late`, and left to be trained alone when its turn comes.
template <int kWidth>
class PairwiseGroup {
public:
    static constexpr int kSize = 16;

    // Whether this is a way to train them: vectors are not made of parts.
    static bool takes(const Composition& users, const Composition& items, const Pairwise& options) {
        return options.n_negatives == 1 && users.parts == nullptr && items.parts == nullptr;
    }

    PairwiseGroup(const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
                  const Pairwise& options)
        : t_(vectors),
          biases_(biases),
          first_user_(users.offset),
          first_item_(items.offset),
          o_(options),
          by_user_(vectors.width),
          by_item_(vectors.width) {}

    // Sample k of the group.
    [[gnu::always_inline]] void set(int k, std::int32_t user, std::int32_t positive, std::int32_t negative,
                                    float weight) {
        users_[k] = user, items_[0][k] = positive, items_[1][k] = negative;
        const Row<kWidth> of_user(t_.row(first_user_ + user));
        for (int side = 0; side < 2; ++side) {
            const std::int64_t row = first_item_ + items_[side][k];
            products_[side][k] = products(of_user, Row<kWidth>(t_.row(row)), t_.width);
            scores_[side][k] = biases_ == nullptr ? 0 : biases_->values[row];
            if (user_biased()) scores_[side][k] += biases_->values[first_user_ + user];
        }
        weights_[k] = weight;
        shares_[k] = o_.counts(positive, negative);
    }

    bool late(int k) const { return late_ >> k & 1; }

    // Loss times weight, summed over all that are not late. All samples are set.
    float evaluate() {
        find_late();
        Vec total{};
        for (int side = 0; side < 2; ++side) {
            for (int k = 0; k < kSize; k += 8) {
                float sum[8];
                sums(reinterpret_cast<const Vec(&)[8]>(products_[side][k]), sum);
                for (int i = 0; i < 8; ++i) scores_[side][k + i] += sum[i];
            }
        }
        for (int k = 0; k < kSize; k += kLanes) {
            const Vec weight = load(weights_ + k);
            const Vec positive = load(scores_[0] + k), negative = load(scores_[1] + k);
            const Pairs pairs = losses(positive, negative, load(shares_ + k), ~late_ >> k);
            total += weight * pairs.loss;
            store(by_score_[0] + k, weight * pairs.by_positive);
            store(by_score_[1] + k, weight * pairs.by_negative);
        }
        return sum(total);
    }

    // The step of sample k; none if it is late.
    [[gnu::always_inline]] void step(int k, const RowStep<kWidth>& steps, const RowStep<1>& bias_steps) {
        const std::int64_t at_user = first_user_ + users_[k];
        const std::int64_t at_items[2] = {first_item_ + items_[0][k], first_item_ + items_[1][k]};
        const float by[2] = {by_score_[0][k], by_score_[1][k]};
        if (by[0] == 0 && by[1] == 0) return;
        const float times = o_.loss == PairLoss::logistic ? 2 : 1;  // what takes part: two samples, or one of a pair
        const Row<kWidth> user(t_.row(at_user));
        auto by_user = Row<kWidth>::in(by_user_.data()), by_item = Row<kWidth>::in(by_item_.data());
        {
            const Row<kWidth> positive(t_.row(at_items[0])), negative(t_.row(at_items[1]));
            const Vec shrink = broadcast(times * o_.regularization), one = broadcast(by[0]), zero = broadcast(by[1]);
            each_vector<kWidth>(t_.width, [&](auto v) {
                by_user.set(v, shrink * user.get(v) + one * positive.get(v) + zero * negative.get(v));
            });
        }
        for (int side = 0; side < 2; ++side) {
            if (by[side] == 0 || !o_.update_items) continue;
            const std::int64_t row = at_items[side];
            const Row<kWidth> item(t_.row(row));
            const Vec shrink = broadcast(o_.regularization), slope = broadcast(by[side]);
            each_vector<kWidth>(t_.width, [&](auto v) { by_item.set(v, slope * user.get(v) + shrink * item.get(v)); });
            steps(row, by_item);
            if (biases_ != nullptr) step_bias(row, by[side], 1, bias_steps);
        }
        if (!o_.update_users) return;
        steps(at_user, by_user);
        if (user_biased()) step_bias(at_user, by[0] + by[1], times, bias_steps);
    }

    std::int64_t violations() const { return violations_; }

private:
    struct Pairs {
        Vec loss, by_positive, by_negative;
    };

    bool user_biased() const { return biases_ != nullptr && o_.loss == PairLoss::logistic; }

    [[gnu::always_inline]] void step_bias(std::int64_t row, float by_score, float times, const RowStep<1>& steps) {
        const float gradient = by_score + times * o_.bias_regularization * biases_->values[row];
        steps(row, &gradient);
    }

    void find_late() {
        late_ = 0;
        for (int k = 0; k < kSize; ++k) {
            const std::int32_t user = users_[k], positive = items_[0][k], negative = items_[1][k];
            std::int32_t shared = positive == negative;
            for (int j = 0; j < kSize; ++j) {
                shared |= (j < k) & ((users_[j] == user) | (items_[0][j] == positive) | (items_[1][j] == positive) |
                                     (items_[0][j] == negative) | (items_[1][j] == negative));
            }
            late_ |= static_cast<std::uint32_t>(shared) << k;
            if (shared) weights_[k] = 0;
        }
    }

    // counted: bits of the lanes whose violations are.
    Pairs losses(Vec positive, Vec negative, Vec share, std::uint32_t counted) {
        if (o_.loss == PairLoss::logistic) {
            const Softplus one(positive), zero(-negative);
            violations_ += std::popcount(greater(negative, positive) & counted);
            return {one.loss + share * zero.loss, -one.slope, share * zero.slope};
        }
        const Vec ahead = positive - negative;
        const PairTerm term(o_, ahead);
        const std::uint32_t wrong = o_.loss == PairLoss::bpr ? greater(Vec{}, ahead) : greater(term.slope, Vec{});
        violations_ += std::popcount(wrong & counted);
        if (o_.loss == PairLoss::warp) share *= o_.warp_weights[0];
        return {share * term.loss, -share * term.slope, share * term.slope};
    }

    const Table& t_;
    const Table* biases_;
    std::int64_t first_user_, first_item_;
    const Pairwise& o_;
    Buffer by_user_, by_item_;
    std::int32_t users_[kSize], items_[2][kSize];  // positives, then negatives
    std::uint32_t late_ = 0;                       // a bit each
    Vec products_[2][kSize];                       // of user and item by coordinates, some of them summed
    float scores_[2][kSize], by_score_[2][kSize], weights_[kSize], shares_[kSize];
    std::int64_t violations_ = 0;
};

}  // namespace cofactor
