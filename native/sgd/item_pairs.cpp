#include "sgd/item_pairs.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/exp.hpp"
#include "core/random.hpp"
#include "core/simd.hpp"
#include "sgd/step.hpp"
#include "shuffle/shuffle.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kPiece = 1 << 13;  // pairs that a thread takes at a time: their order and rows fit the L1 cache
constexpr std::int64_t kAhead = 64;       // pairs whose cache lines are on their way at once

// A worker, and its block: the vectors of its pairs as they were when it began, and the derivatives of the scores.
template <std::ptrdiff_t kWidth>
class Worker {
public:
    Worker(const ItemPairs& pairs, const Table& table)
        : p_(pairs),
          t_(table),
          steps_(table),
          places_(kPiece),
          items_(kPiece),
          next_(kPiece),
          weights_(kPiece, 1.0f),
          pool_(p_.in_batch ? 0 : kPiece),
          n_scores_(p_.n_negatives + 1),
          of_items_(p_.block * table.width),
          of_next_(p_.block * table.width),
          of_pool_(p_.in_batch ? 0 : p_.block * table.width),
          scores_(padded(p_.block * n_scores_)),
          small_(padded(p_.block * n_scores_)),
          gradient_(table.width) {}

    ItemPairsEpoch done{};

    // Pairs at places [begin, end) of the epoch's order.
    void run(std::int64_t begin, std::int64_t end) {
        read(begin, end);
        const std::int64_t n = end - begin;
        for (std::int64_t k = 0; k < std::min(n, p_.block); ++k) fetch_values(k);
        Random random(p_.seed, ~static_cast<std::uint64_t>(begin));
        for (std::int64_t at = 0; at < n; at += p_.block) {
            const std::int64_t size = std::min(p_.block, n - at);
            score(at, size, random);
            if (p_.loss == ItemPairLoss::logistic)
                logistic(at, size);
            else
                softmax(at, size);
            step(at, size, std::min(p_.block, n - at - size));
        }
    }

private:
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }
    std::int64_t pool_row(std::int64_t k) const { return p_.in_batch ? next_[k] : pool_[k]; }
    const float* pool() const { return p_.in_batch ? of_next_.data() : of_pool_.data(); }

    // The pairs of a piece, as rows of the table, and what their negatives are taken from.
    void read(std::int64_t begin, std::int64_t end) {
        const std::int64_t n = end - begin, offset = p_.shared ? 0 : p_.n_items;
        permuted_places(std::ssize(p_.items), p_.seed, begin, std::span(places_).first(n));
        for (std::int64_t k = 0; k < n; k += kAhead) {
            const std::int64_t last = std::min(n, k + kAhead);
            for (std::int64_t j = k; j < last; ++j) {
                __builtin_prefetch(p_.items.data() + places_[j]);
                __builtin_prefetch(p_.next_items.data() + places_[j]);
                if (!p_.weights.empty()) __builtin_prefetch(p_.weights.data() + places_[j]);
            }
            for (std::int64_t j = k; j < last; ++j) {
                items_[j] = p_.items[places_[j]];
                next_[j] = p_.next_items[places_[j]] + offset;
                if (!p_.weights.empty()) weights_[j] = p_.weights[places_[j]];
            }
        }
        if (p_.in_batch) return;
        Random random(p_.seed, static_cast<std::uint64_t>(begin));
        for (std::int64_t k = 0; k < n; ++k) pool_[k] = p_.sampler(random) + offset;
    }

    [[gnu::always_inline]] void fetch_values(std::int64_t k) const {
        prefetch(t_.row(items_[k]), width());
        prefetch(t_.row(next_[k]), width());
        if (!p_.in_batch) prefetch(t_.row(pool_[k]), width());
        if (!p_.log_q.empty()) __builtin_prefetch(p_.log_q.data() + next_[k] % p_.n_items);
    }

    [[gnu::always_inline]] void fetch_state(std::int64_t row) const {
        if (!p_.learn) return;
        if (t_.first != nullptr) prefetch(t_.first + row * t_.width, width());
        if (t_.second != nullptr) prefetch(t_.second + row * t_.width, width());
    }

    void copy(std::int64_t row, float* to) const {
        const float* const from = t_.row(row);
        for (std::ptrdiff_t j = 0; j < width(); j += kLanes) store(to + j, load(from + j));
        fetch_state(row);
    }

    float correction(std::int64_t row) const { return p_.log_q.empty() ? 0 : p_.log_q[row % p_.n_items]; }

    // Negative d of pair k is the one so many places further on: each of the pool is as many pairs' negative.
    std::int64_t negative(std::int64_t k, std::int64_t d, std::int64_t size) const {
        const std::int64_t place = k + shift_ + d;
        return place < size ? place : place - size;
    }

    // Scores of every pair, then of its negatives; minus infinity where a negative is what it should be.
    void score(std::int64_t at, std::int64_t size, Random& random) {
        for (std::int64_t k = 0; k < size; ++k) {
            copy(items_[at + k], of_items_.data() + k * width());
            copy(next_[at + k], of_next_.data() + k * width());
            if (!p_.in_batch) copy(pool_[at + k], of_pool_.data() + k * width());
        }
        const std::int64_t others = p_.in_batch ? size - 1 : size;
        n_ = std::min(p_.n_negatives, others);
        // in a block the pairs themselves are never reached: 1 <= shift_ + d modulo size for all d < n_
        shift_ = others == 0 ? 0 : random.below(static_cast<std::uint32_t>(others - n_ + 1)) + (p_.in_batch ? 1 : 0);
        for (std::int64_t k = 0; k < size; ++k) {
            const float* const item = of_items_.data() + k * width();
            float* const scores = scores_.data() + k * n_scores_;
            const std::int32_t next = next_[at + k];
            scores[0] = dot(item, of_next_.data() + k * width(), width()) - correction(next);
            for (std::int64_t d = 0; d < n_; ++d) {
                const std::int64_t other = negative(k, d, size), row = pool_row(at + other);
                const float found = dot(item, pool() + other * width(), width()) - correction(row);
                scores[1 + d] = row == next ? -kNone : found;
            }
            if (n_ > 0 && scores[1] != -kNone) {
                ++done.compared;
                done.above += scores[0] > scores[1];
            }
            done.weight += weights_[at + k];
        }
    }

    // log(1 + e^-s) of the pair and log(1 + e^s) of its negatives; scores become derivatives.
    void logistic(std::int64_t at, std::int64_t size) {
        for (std::int64_t k = 0; k < size; ++k) scores_.data()[k * n_scores_] *= -1;  // now all are to be small
        for (std::int64_t i = 0; i < size * n_scores_; i += kLanes) {
            const Vec s = load(scores_.data() + i);
            store(small_.data() + i, exp(s > 0 ? -s : s));
        }
        double loss = 0;
        float product = 1;  // of the 1 + e: the logarithm is taken once for many, each is 2 at most
        int factors = 0;
        for (std::int64_t k = 0; k < size; ++k) {
            float* const scores = scores_.data() + k * n_scores_;
            const float* const small = small_.data() + k * n_scores_;
            const float weight = weights_[at + k];
            float sum = 0;
            for (std::int64_t d = 0; d <= n_; ++d) {
                sum += std::max(scores[d], 0.0f);
                product *= 1 + small[d];
                if (++factors == 64) {
                    sum += std::log(product);
                    product = 1;
                    factors = 0;
                }
                scores[d] = weight * (scores[d] > 0 ? 1 : small[d]) / (1 + small[d]);
            }
            if (!p_.weights.empty()) {
                sum += std::log(product);
                product = 1;
                factors = 0;
            }
            loss += weight * static_cast<double>(sum);
            scores[0] *= -1;
        }
        done.loss += loss + std::log(product);
    }

    // -log(e^s / (e^s + sum of e^s over the negatives)).
    void softmax(std::int64_t at, std::int64_t size) {
        for (std::int64_t k = 0; k < size; ++k) {
            float* const scores = scores_.data() + k * n_scores_;
            const float most = *std::max_element(scores, scores + n_ + 1), own = scores[0];
            float sum = 0;
            for (std::int64_t d = 0; d <= n_; ++d) sum += scores[d] = std::exp(scores[d] - most);
            for (std::int64_t d = 0; d <= n_; ++d) scores[d] *= weights_[at + k] / sum;
            scores[0] -= weights_[at + k];
            done.loss += static_cast<double>(weights_[at + k]) * (std::log(sum) + most - own);
        }
    }

    // One step for every row of the block, while the values of the next one are on their way.
    void step(std::int64_t at, std::int64_t size, std::int64_t coming) {
        for (std::int64_t k = 0; k < size; ++k) {
            if (k < coming) fetch_values(at + size + k);
            if (!p_.learn) continue;
            const float* const by_score = scores_.data() + k * n_scores_;
            begin(of_items_.data() + k * width());
            add(by_score[0], of_next_.data() + k * width());
            for (std::int64_t d = 0; d < n_; ++d) add(by_score[1 + d], pool() + negative(k, d, size) * width());
            steps_.template step<kWidth>(items_[at + k], gradient_.data());
            begin(of_next_.data() + k * width());
            add(by_score[0], of_items_.data() + k * width());
            if (p_.in_batch) add_as_negative(k, size);
            steps_.template step<kWidth>(next_[at + k], gradient_.data());
            if (p_.in_batch) continue;
            begin(of_pool_.data() + k * width());
            add_as_negative(k, size);
            steps_.template step<kWidth>(pool_[at + k], gradient_.data());
        }
    }

    // What the pairs say of number k of the pool whose negative it is.
    void add_as_negative(std::int64_t k, std::int64_t size) {
        for (std::int64_t d = 0; d < n_; ++d) {
            const std::int64_t place = k - shift_ - d, pair = place < 0 ? place + size : place;
            add(scores_.data()[pair * n_scores_ + 1 + d], of_items_.data() + pair * width());
        }
    }

    void begin(const float* vector) {
        const Vec shrink = broadcast(p_.regularization);
        for (std::ptrdiff_t j = 0; j < width(); j += kLanes) store(gradient_.data() + j, shrink * load(vector + j));
    }
    void add(float share, const float* vector) { axpy(share, vector, gradient_.data(), width()); }

    static constexpr float kNone = std::numeric_limits<float>::infinity();

    const ItemPairs& p_;
    const Table& t_;
    RowSteps steps_;
    std::vector<std::int64_t> places_;
    std::vector<std::int32_t> items_, next_;  // rows of the table
    std::vector<float> weights_;
    std::vector<std::int32_t> pool_;
    std::int64_t n_scores_, n_ = 0, shift_ = 0;
    Buffer of_items_, of_next_, of_pool_, scores_, small_, gradient_;  // small_: e to the minus size of the scores
};

template <std::ptrdiff_t kWidth>
ItemPairsEpoch epoch_of(const ItemPairs& pairs, const Table& vectors, int threads, Interrupt& interrupt) {
    std::vector<Worker<kWidth>> workers;
    const std::int64_t n = std::ssize(pairs.items);
    threads = static_cast<int>(std::clamp<std::int64_t>((n + kPiece - 1) / kPiece, 1, threads));
    workers.reserve(threads);
    for (int w = 0; w < threads; ++w) workers.emplace_back(pairs, vectors);
    parallel_for(n, kPiece, threads, interrupt,
                 [&](std::int64_t begin, std::int64_t end, int worker) { workers[worker].run(begin, end); });
    ItemPairsEpoch total{};
    for (const Worker<kWidth>& worker : workers) {
        total.loss += worker.done.loss;
        total.weight += worker.done.weight;
        total.above += worker.done.above;
        total.compared += worker.done.compared;
    }
    return total;
}

}  // namespace

ItemPairsEpoch item_pairs_epoch(const ItemPairs& pairs, const Table& vectors, int threads, Interrupt& interrupt) {
    const auto epoch = vectors.width == 32    ? &epoch_of<32>
                       : vectors.width == 64  ? &epoch_of<64>
                       : vectors.width == 128 ? &epoch_of<128>
                                              : &epoch_of<0>;
    return epoch(pairs, vectors, threads, interrupt);
}

}  // namespace cofactor
