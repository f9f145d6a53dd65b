#include "sgd/pairwise.hpp"

#include <algorithm>
#include <vector>

#include "sgd/pairwise_sample.hpp"
#include "sgd/step.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kMostAhead = 8;  // negatives of a positive that are drawn before their time
constexpr std::int64_t kDistance = 6;   // positives from a prefetch to its use
// Positives of a block: its users and their histories fit the L2 cache. Small data still make some blocks.
constexpr std::int64_t kBlocks = 32, kLeastBlock = 1 << 12, kMostBlock = 1 << 16;

// All users in random order, and where the positives of each start if they are laid out so.
struct UserOrder {
    std::vector<std::int32_t> users;
    std::vector<std::int64_t> starts;

    UserOrder(const Csr& x, std::uint64_t seed) : users(x.n_rows()), starts(x.n_rows() + 1) {
        const Permutation permutation(users.size(), seed);
        for (std::size_t k = 0; k < users.size(); ++k) {
            users[k] = static_cast<std::int32_t>(permutation(k));
            starts[k + 1] = starts[k] + x.length(users[k]);
        }
    }
};

// A worker of the way without locks, and the positives of its block.
template <std::ptrdiff_t kWidth>
class Worker {
public:
    Worker(const Csr& x, const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
           const Pairwise& options, std::int64_t block)
        : x_(x),
          t_(vectors),
          biases_(biases),
          users_(users),
          items_(items),
          o_(options),
          ahead_(std::min(options.n_negatives, kMostAhead)),
          steps_(vectors),
          sample_(vectors, biases, users, items, options),
          by_user_(vectors.width),
          by_item_(vectors.width),
          scaled_(vectors.width),
          order_(block),
          user_(block),
          positive_(block),
          weight_(block),
          negatives_(block * ahead_) {
        random_.reserve(block);
    }

    // Positives [begin, end) of those laid out by users in their order.
    void run(const UserOrder& order, std::int64_t begin, std::int64_t end) {
        read(order, begin, end);
        const auto n = static_cast<std::int64_t>(random_.size());
        Random random(o_.seed, ~static_cast<std::uint64_t>(begin));
        for (std::int64_t k = 0; k < n; ++k) {  // Fisher & Yates, inside out
            const std::uint32_t other = random.below(static_cast<std::uint32_t>(k + 1));
            order_[k] = order_[other];
            order_[other] = static_cast<std::int32_t>(k);
        }
        for (std::int64_t k = 0; k < std::min(kDistance, n); ++k) fetch(order_[k]);
        for (std::int64_t k = 0; k < n; ++k) {
            if (k + kDistance < n) fetch(order_[k + kDistance]);
            step(order_[k]);
        }
    }

    double loss = 0;
    std::int64_t skipped = 0;
    std::int64_t violations() const { return sample_.violations(); }

private:
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    // The positives and, while the history is at hand, their first negatives. O(log history) a negative.
    void read(const UserOrder& order, std::int64_t begin, std::int64_t end) {
        random_.clear();
        auto place = std::upper_bound(order.starts.begin(), order.starts.end(), begin) - order.starts.begin() - 1;
        for (std::int64_t at = begin; at < end; ++place) {
            const std::int32_t user = order.users[place];
            const std::int64_t last = std::min(end, order.starts[place + 1]);
            const auto seen = o_.negatives.seen_by(user);
            for (; at < last; ++at) {
                const std::int64_t entry = x_.indptr[user] + at - order.starts[place];
                const std::size_t k = random_.size();
                Random random(o_.seed, static_cast<std::uint64_t>(entry));
                std::int32_t item = 0;
                for (std::int64_t d = 0; d < ahead_; ++d) {
                    negatives_[k * ahead_ + d] = item = o_.negatives(user, seen, random);
                }
                if (item < 0) {
                    ++skipped;
                    continue;
                }
                user_[k] = user;
                positive_[k] = x_.indices[entry];
                weight_[k] = x_.values[entry];
                random_.push_back(random);
            }
        }
    }

    void fetch(const Composition& c, std::int64_t i) const {
        if (c.parts != nullptr) return;
        steps_.prefetch(c.offset + i);
        if (biases_ != nullptr) __builtin_prefetch(biases_->row(c.offset + i));
    }

    void fetch(std::int64_t k) const {
        fetch(users_, user_[k]);
        fetch(items_, positive_[k]);
        for (std::int64_t d = 0; d < ahead_; ++d) fetch(items_, negatives_[k * ahead_ + d]);
    }

    void step(std::int64_t k) {
        const std::int64_t user = user_[k];
        const auto seen = o_.negatives.seen_by(user);
        loss += sample_.evaluate(user, positive_[k], weight_[k], width(), [&](std::int64_t d) {
            return d < ahead_ ? negatives_[k * ahead_ + d] : o_.negatives(user, seen, random_[k]);
        });
        if (!sample_.moves()) return;
        sample_.by_user(width(), by_user_.data());
        const float by_user_bias = sample_.by_user_bias();
        for (std::int64_t i = 0; i < sample_.n(); ++i) {
            if (sample_.by_score(i) == 0) continue;
            sample_.by_item(i, width(), by_item_.data());
            change(items_, sample_.item(i), by_item_.data(), sample_.by_item_bias(i));
        }
        change(users_, user, by_user_.data(), by_user_bias);
    }

    // The parts of a vector take a step each.
    void change(const Composition& c, std::int64_t i, const float* gradient, float of_bias) {
        const bool biased = biases_ != nullptr && (&c == &items_ || o_.loss == PairLoss::logistic);
        if (c.parts == nullptr) {
            change_row(c.offset + i, gradient, biased, of_bias);
            return;
        }
        for (std::int64_t k = c.parts->indptr[i]; k < c.parts->indptr[i + 1]; ++k) {
            const float weight = c.parts->values[k];
            const Vec w = broadcast(weight);
            for (std::ptrdiff_t j = 0; j < width(); j += kLanes) store(scaled_.data() + j, w * load(gradient + j));
            change_row(c.parts->indices[k], scaled_.data(), biased, weight * of_bias);
        }
    }

    void change_row(std::int64_t row, const float* gradient, bool biased, float of_bias) {
        if (!(row < x_.n_rows() ? o_.update_users : o_.update_items)) return;
        steps_(row, gradient);
        if (biased) step_row(*biases_, row, &of_bias);
    }

    const Csr& x_;
    const Table& t_;
    const Table* biases_;
    const Composition &users_, &items_;
    const Pairwise& o_;
    std::int64_t ahead_;
    RowSteps steps_;
    PairwiseSample sample_;
    Buffer by_user_, by_item_, scaled_;
    std::vector<std::int32_t> order_, user_, positive_;
    std::vector<float> weight_;
    std::vector<std::int32_t> negatives_;  // ahead_ a positive
    std::vector<Random> random_;           // what the rest is drawn with
};

template <std::ptrdiff_t kWidth>
PairwiseEpoch epoch_of(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                       const Composition& items, const Pairwise& options, int threads, Interrupt& interrupt) {
    const auto nnz = static_cast<std::int64_t>(x.indices.size());
    const std::int64_t block = std::clamp<std::int64_t>(nnz / kBlocks, kLeastBlock, kMostBlock);
    const UserOrder order(x, options.seed);
    std::vector<Worker<kWidth>> workers;
    threads = static_cast<int>(std::clamp<std::int64_t>((nnz + block - 1) / block, 1, threads));
    workers.reserve(threads);
    for (int w = 0; w < threads; ++w) workers.emplace_back(x, vectors, biases, users, items, options, block);
    parallel_for(nnz, block, threads, interrupt,
                 [&](std::int64_t begin, std::int64_t end, int worker) { workers[worker].run(order, begin, end); });
    PairwiseEpoch total{};
    for (const Worker<kWidth>& worker : workers) {
        total.loss += worker.loss;
        total.skipped += worker.skipped;
        total.violations += worker.violations();
    }
    return total;
}

}  // namespace

PairwiseEpoch pairwise_epoch(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                             const Composition& items, const Pairwise& options, int threads, Interrupt& interrupt) {
    const auto epoch = vectors.width == 32    ? &epoch_of<32>
                       : vectors.width == 64  ? &epoch_of<64>
                       : vectors.width == 128 ? &epoch_of<128>
                                              : &epoch_of<0>;
    return epoch(x, vectors, biases, users, items, options, threads, interrupt);
}

}  // namespace cofactor
