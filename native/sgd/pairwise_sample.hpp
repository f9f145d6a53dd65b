// One positive and its negatives: scores, loss and the derivatives by the scores.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/row.hpp"
#include "core/simd.hpp"
#include "sgd/pair_terms.hpp"
#include "sgd/pairwise.hpp"

namespace cofactor {

// The vectors of a sample, where they are or as their parts make them, and what its loss says about them. Items are
// numbered: 0 is the positive, 1 to n_negatives are the negatives. kWidth: that of the table if it is known when this
// is compiled, or 0.
template <int kWidth>
class PairwiseSample {
public:
    PairwiseSample(const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
                   const Pairwise& options)
        : t_(vectors),
          biases_(biases),
          users_(users),
          items_(items),
          o_(options),
          vectors_((options.n_negatives + 2) * vectors.width),
          numbers_(3 * (options.n_negatives + 1)),
          at_(options.n_negatives + 1),
          rows_(options.n_negatives + 1) {}

    // Loss times weight. `draw(k)` gives negative k, from 0, in turn.
    template <class Draw>
    [[gnu::always_inline]] float evaluate(std::int64_t user, std::int32_t positive, float weight, const Draw& draw) {
        user_ = vector(users_, user, vectors_.data() + (o_.n_negatives + 1) * width());
        user_bias_ = o_.loss == PairLoss::logistic ? bias(users_, user) : 0;
        score(0, positive);
        derivative(0) = 0;
        switch (o_.loss) {
            case PairLoss::warp:
                return weight * warp(weight, draw);
            case PairLoss::adaptive_hinge:
                return weight * hardest(weight, draw);
            case PairLoss::logistic: {
                const Softplus one(score(0));
                derivative(0) = -weight * one.slope;
                float loss = one.loss;
                for (std::int64_t k = 1; k <= o_.n_negatives; ++k) {
                    score(k, draw(k - 1));
                    const Softplus zero(-score(k));
                    const float share = counts(k);
                    derivative(k) = weight * share * zero.slope;
                    loss += share * zero.loss;
                    violations_ += score(k) > score(0);
                }
                n_ = o_.n_negatives + 1;
                return weight * loss;
            }
            default:
                break;
        }
        float loss = 0;
        for (std::int64_t k = 1; k <= o_.n_negatives; ++k) {
            score(k, draw(k - 1));
            loss += pair(k, weight * counts(k)) * counts(k);
        }
        n_ = o_.n_negatives + 1;
        return weight * loss;
    }

    // Whether its vectors move at all.
    bool moves() const {
        for (std::int64_t k = 0; k < n_; ++k) {
            if (by_score(k) != 0) return true;
        }
        return false;
    }

    std::int64_t n() const { return n_; }  // items that take part, the positive among them
    std::int32_t item(std::int64_t k) const { return at_[k]; }
    float by_score(std::int64_t k) const { return numbers_.data()[k]; }
    std::int64_t violations() const { return violations_; }

    // The gradient of the user's vector, and of that of item number k.
    [[gnu::always_inline]] void by_user(Row<kWidth>& out) const {
        const Row<kWidth> user(user_);
        const Vec shrink = broadcast(o_.regularization * times());
        each_vector<kWidth>(width(), [&](auto v) { out.set(v, shrink * user.get(v)); });
        for (std::int64_t k = 0; k < n_; ++k) axpy(by_score(k), Row<kWidth>(rows_[k]), out, width());
    }
    [[gnu::always_inline]] void by_item(std::int64_t k, Row<kWidth>& out) const {
        const Row<kWidth> user(user_), item(rows_[k]);
        const Vec shrink = broadcast(o_.regularization), by = broadcast(by_score(k));
        each_vector<kWidth>(width(), [&](auto v) { out.set(v, by * user.get(v) + shrink * item.get(v)); });
    }

    // Of the user's bias, which only a pointwise loss has, and of that of item number k.
    float by_user_bias() const {
        float sum = o_.bias_regularization * times() * user_bias_;
        for (std::int64_t k = 0; k < n_; ++k) sum += by_score(k);
        return sum;
    }
    float by_item_bias(std::int64_t k) const { return by_score(k) + o_.bias_regularization * item_bias(k); }

private:
    // How often the user takes part: with a pointwise loss every item makes a sample.
    float times() const { return o_.loss == PairLoss::logistic ? static_cast<float>(n_) : 1; }
    float& derivative(std::int64_t k) { return numbers_.data()[k]; }
    float& score(std::int64_t k) { return numbers_.data()[o_.n_negatives + 1 + k]; }
    float& item_bias(std::int64_t k) { return numbers_.data()[2 * (o_.n_negatives + 1) + k]; }
    float item_bias(std::int64_t k) const { return numbers_.data()[2 * (o_.n_negatives + 1) + k]; }
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    [[gnu::always_inline]] float* vector(const Composition& c, std::int64_t i, float* room) const {
        if (c.parts == nullptr) return t_.row(c.offset + i);
        compose(t_, c, i, room);
        return room;
    }

    [[gnu::always_inline]] float bias(const Composition& c, std::int64_t i) const {
        if (biases_ == nullptr) return 0;
        if (c.parts == nullptr) return biases_->values[c.offset + i];
        float sum;
        compose(*biases_, c, i, &sum);
        return sum;
    }

    [[gnu::always_inline]] void score(std::int64_t k, std::int32_t item) {
        at_[k] = item;
        rows_[k] = vector(items_, item, vectors_.data() + k * width());
        item_bias(k) = bias(items_, item);
        score(k) = dot(Row<kWidth>(user_), Row<kWidth>(rows_[k]), width()) + user_bias_ + item_bias(k);
    }

    [[gnu::always_inline]] float counts(std::int64_t k) const { return o_.counts(at_[0], at_[k]); }

    // Loss of the positive and negative k; `weight` of it goes to the derivatives.
    [[gnu::always_inline]] float pair(std::int64_t k, float weight) {
        const float ahead = score(0) - score(k);
        const PairTerm term(o_, ahead);
        violations_ += o_.loss == PairLoss::bpr ? ahead < 0 : term.slope != 0;
        derivative(k) = weight * term.slope;
        derivative(0) -= weight * term.slope;
        return term.loss;
    }

    template <class Draw>
    float hardest(float weight, const Draw& draw) {
        score(1, draw(0));
        for (std::int64_t d = 1; d < o_.n_negatives; ++d) {
            score(2, draw(d));
            if (!(score(2) <= score(1))) {
                at_[1] = at_[2];
                score(1) = score(2);
                item_bias(1) = item_bias(2);
                if (items_.parts == nullptr)
                    rows_[1] = rows_[2];
                else
                    std::copy_n(rows_[2], width(), rows_[1]);
            }
        }
        n_ = 2;
        return pair(1, weight * counts(1)) * counts(1);
    }

    template <class Draw>
    float warp(float weight, const Draw& draw) {
        for (std::int64_t d = 0; d < o_.n_negatives; ++d) {
            score(1, draw(d));
            if (score(0) - score(1) >= o_.margin) continue;
            n_ = 2;
            const float share = counts(1) * o_.warp_weights[d];
            return pair(1, weight * share) * share;
        }
        n_ = 0;
        return 0;
    }

    const Table& t_;
    const Table* biases_;
    const Composition &users_, &items_;
    const Pairwise& o_;
    Buffer vectors_;                // as parts make them: items, then the user
    Buffer numbers_;                // derivatives by the scores, scores, biases
    std::vector<std::int32_t> at_;  // the items
    std::vector<float*> rows_;      // and where their vectors are
    float* user_ = nullptr;
    float user_bias_ = 0;
    std::int64_t n_ = 0, violations_ = 0;
};

}  // namespace cofactor
