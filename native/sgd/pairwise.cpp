#include "sgd/pairwise.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <vector>

#include "sgd/pairwise_group.hpp"
#include "sgd/pairwise_sample.hpp"
#include "sgd/row_step.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kMostAhead = 8;   // negatives of a positive that are drawn before their time
constexpr std::int64_t kDistance = 10;   // positives from a prefetch to its use
constexpr std::int64_t kPatience = 256;  // positives between two looks at the interrupt
// Positives of a block: its users and their histories fit the L2 cache. Small data still make some blocks.
constexpr std::int64_t kBlocks = 32, kLeastBlock = 1 << 12, kMostBlock = 1 << 15;

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

// The positives of a block, each with its first negatives, in the order in which they are trained.
class Records {
public:
    Records(std::int64_t n_most, std::int64_t n_negatives)
        : ahead_(std::min(n_negatives, kMostAhead)),
          goes_on_(n_negatives > ahead_),
          words_(kFirst + ahead_ + (goes_on_ ? 2 : 0)),
          of_(n_most * words_),
          order_(n_most) {}

    std::int64_t ahead() const { return ahead_; }
    std::int64_t size() const { return size_; }
    void clear() { size_ = 0; }

    std::int32_t user(std::int64_t k) const { return at(k)[0]; }
    std::int32_t positive(std::int64_t k) const { return at(k)[1]; }
    float weight(std::int64_t k) const { return std::bit_cast<float>(at(k)[2]); }
    const std::int32_t* negatives(std::int64_t k) const { return at(k) + kFirst; }

    [[gnu::always_inline]] void fetch(std::int64_t k) const { __builtin_prefetch(at(k)); }

    // What negatives beyond `ahead` are drawn with.
    Random random(std::int64_t k) const {
        Random random(0, 0);
        std::memcpy(static_cast<void*>(&random), negatives(k) + ahead_, sizeof random);
        return random;
    }

    // At a random place of the order; what was there goes to its end: a shuffle by Fisher & Yates, inside out.
    void insert(std::int32_t user, std::int32_t positive, float weight, const std::int32_t* negatives,
                const Random& random, Random& places) {
        std::int32_t* const to = of_.data() + size_ * words_;
        to[0] = user;
        to[1] = positive;
        to[2] = std::bit_cast<std::int32_t>(weight);
        for (std::int64_t d = 0; d < ahead_; ++d) to[kFirst + d] = negatives[d];
        if (goes_on_) std::memcpy(to + kFirst + ahead_, static_cast<const void*>(&random), sizeof random);
        std::int32_t& place = order_[places.below(static_cast<std::uint32_t>(size_ + 1))];
        order_[size_] = place;
        place = static_cast<std::int32_t>(size_++);
    }

private:
    static_assert(std::is_trivially_copyable_v<Random> && sizeof(Random) == 2 * sizeof(std::int32_t));
    static constexpr std::int64_t kFirst = 3;

    const std::int32_t* at(std::int64_t k) const { return of_.data() + order_[k] * words_; }

    std::int64_t ahead_;
    bool goes_on_;
    std::int64_t words_, size_ = 0;
    std::vector<std::int32_t> of_, order_;
};

// A worker of the way without locks.
template <int kWidth>
class alignas(64) Worker {  // at cache lines of its own
public:
    Worker(const Csr& x, const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
           const Pairwise& options, std::int64_t block)
        : x_(x),
          t_(vectors),
          biases_(biases),
          users_(users),
          items_(items),
          o_(options),
          steps_(vectors),
          bias_steps_(biases == nullptr ? vectors : *biases),
          sample_(vectors, biases, users, items, options),
          group_(vectors, biases, users, items, options),
          by_user_(vectors.width),
          by_item_(vectors.width),
          scaled_(vectors.width),
          records_(block, options.n_negatives),
          at_hand_(options.negatives.seen == nullptr ? 0 : options.negatives.items.n_items) {}

    // Positives [begin, end) of those laid out by users in their order. Where each has many negatives a block takes
    // long: the interrupt is asked in between, by worker 0.
    void run(const UserOrder& order, std::int64_t begin, std::int64_t end, int worker, Interrupt& interrupt) {
        read(order, begin, end);
        const float share = rate_share(o_, begin, end, order.starts.back());
        steps_.slow_down(share);
        bias_steps_.slow_down(share);
        for (std::int64_t k = 0; k < std::min(kDistance, records_.size()); ++k) fetch(k);
        const bool grouped = PairwiseGroup<kWidth>::takes(users_, items_, o_);
        for (std::int64_t k = 0, n; k < records_.size(); k += n) {
            if (k % kPatience == 0) {
                if (worker == 0) interrupt.check();
                if (interrupt.stopped()) return;
            }
            n = grouped && k + kGroup <= records_.size() ? kGroup : 1;
            if (n == kGroup) {
                step_group(k);
            } else {
                fetch_ahead(k);
                step(k);
            }
        }
    }

    double loss = 0;
    std::int64_t skipped = 0;
    std::int64_t violations() const { return sample_.violations() + group_.violations(); }

private:
    static constexpr int kGroup = PairwiseGroup<kWidth>::kSize;
    static_assert(kPatience % kGroup == 0);

    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : t_.width; }

    // The positives and, while the history is at hand, their first negatives.
    void read(const UserOrder& order, std::int64_t begin, std::int64_t end) {
        records_.clear();
        Random places(o_.seed, ~static_cast<std::uint64_t>(begin));
        std::int32_t negatives[kMostAhead];
        auto place = std::upper_bound(order.starts.begin(), order.starts.end(), begin) - order.starts.begin() - 1;
        for (std::int64_t at = begin; at < end; ++place) {
            const std::int32_t user = order.users[place];
            const std::int64_t last = std::min(end, order.starts[place + 1]);
            const Seen seen = at_hand_(o_.negatives.history(user));
            for (; at < last; ++at) {
                const std::int64_t entry = x_.indptr[user] + at - order.starts[place];
                Random random(o_.seed, static_cast<std::uint64_t>(entry));
                for (std::int64_t d = 0; d < records_.ahead(); ++d) {
                    negatives[d] = o_.negatives(user, seen, random);
                }
                if (negatives[0] < 0)
                    ++skipped;
                else
                    records_.insert(user, x_.indices[entry], x_.values[entry], negatives, random, places);
            }
        }
    }

    [[gnu::always_inline]] void fetch(const Composition& c, std::int64_t i) const {
        if (c.parts != nullptr) return;
        steps_.fetch(c.offset + i);
        if (biases_ != nullptr) bias_steps_.fetch(c.offset + i);
    }

    [[gnu::always_inline]] void fetch(std::int64_t k) const {
        fetch(users_, records_.user(k));
        fetch(items_, records_.positive(k));
        for (std::int64_t d = 0; d < records_.ahead(); ++d) fetch(items_, records_.negatives(k)[d]);
    }

    [[gnu::always_inline]] void fetch_ahead(std::int64_t k) const {
        if (k + 2 * kDistance < records_.size()) records_.fetch(k + 2 * kDistance);
        if (k + kDistance < records_.size()) fetch(k + kDistance);
    }

    // kGroup positives from k on, with a negative each.
    void step_group(std::int64_t k) {
        for (int i = 0; i < kGroup; ++i) {
            group_.set(i, records_.user(k + i), records_.positive(k + i), records_.negatives(k + i)[0],
                       records_.weight(k + i));
        }
        loss += group_.evaluate();
        for (int i = 0; i < kGroup; ++i) {
            fetch_ahead(k + i);
            if (group_.late(i))
                step(k + i);
            else
                group_.step(i, steps_, bias_steps_);
        }
    }

    [[gnu::always_inline]] void step(std::int64_t k) {
        const std::int64_t user = records_.user(k);
        const std::int32_t* const negatives = records_.negatives(k);
        if (o_.n_negatives == records_.ahead()) {
            loss += sample_.evaluate(user, records_.positive(k), records_.weight(k),
                                     [&](std::int64_t d) { return negatives[d]; });
        } else {
            Random random = records_.random(k);
            const Seen seen = o_.negatives.seen_by(user);
            loss += sample_.evaluate(user, records_.positive(k), records_.weight(k), [&](std::int64_t d) {
                return d < records_.ahead() ? negatives[d] : o_.negatives(user, seen, random);
            });
        }
        if (!sample_.moves()) return;
        auto by_user = Row<kWidth>::in(by_user_.data()), by_item = Row<kWidth>::in(by_item_.data());
        sample_.by_user(by_user);
        const float by_user_bias = sample_.by_user_bias();
        for (std::int64_t i = 0; i < sample_.n(); ++i) {
            if (sample_.by_score(i) == 0) continue;
            sample_.by_item(i, by_item);
            change(items_, sample_.item(i), by_item, sample_.by_item_bias(i));
        }
        change(users_, user, by_user, by_user_bias);
    }

    // The parts of a vector take a step each.
    [[gnu::always_inline]] void change(const Composition& c, std::int64_t i, const Row<kWidth>& gradient,
                                       float of_bias) {
        const bool biased = biases_ != nullptr && (&c == &items_ || o_.loss == PairLoss::logistic);
        if (c.parts == nullptr) {
            change_row(c.offset + i, gradient, biased, of_bias);
            return;
        }
        auto scaled = Row<kWidth>::in(scaled_.data());
        for (std::int64_t k = c.parts->indptr[i]; k < c.parts->indptr[i + 1]; ++k) {
            const float weight = c.parts->values[k];
            each_vector<kWidth>(width(), [&](auto v) { scaled.set(v, broadcast(weight) * gradient.get(v)); });
            change_row(c.parts->indices[k], scaled, biased, weight * of_bias);
        }
    }

    [[gnu::always_inline]] void change_row(std::int64_t row, const Row<kWidth>& gradient, bool biased, float of_bias) {
        if (!(row < x_.n_rows() ? o_.update_users : o_.update_items)) return;
        steps_(row, gradient);
        if (biased) bias_steps_(row, &of_bias);
    }

    const Csr& x_;
    const Table& t_;
    const Table* biases_;
    const Composition &users_, &items_;
    const Pairwise& o_;
    RowStep<kWidth> steps_;
    RowStep<1> bias_steps_;  // used where there are biases
    PairwiseSample<kWidth> sample_;
    PairwiseGroup<kWidth> group_;
    Buffer by_user_, by_item_, scaled_;
    Records records_;
    SeenAtHand at_hand_;
};

template <int kWidth>
PairwiseEpoch epoch_of(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                       const Composition& items, const Pairwise& options, int threads, Interrupt& interrupt) {
    const auto nnz = static_cast<std::int64_t>(x.indices.size());
    const std::int64_t block = std::clamp<std::int64_t>(nnz / kBlocks, kLeastBlock, kMostBlock);
    const UserOrder order(x, options.seed);
    std::vector<Worker<kWidth>> workers;
    threads = static_cast<int>(std::clamp<std::int64_t>((nnz + block - 1) / block, 1, threads));
    workers.reserve(threads);
    for (int w = 0; w < threads; ++w) workers.emplace_back(x, vectors, biases, users, items, options, block);
    parallel_for(nnz, block, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        workers[worker].run(order, begin, end, worker, interrupt);
    });
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
