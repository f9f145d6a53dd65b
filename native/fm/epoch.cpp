#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "fm/fm.hpp"
#include "sgd/step.hpp"
#include "sgd/touched.hpp"

namespace cofactor {

namespace {

struct Entry {
    std::int32_t user, item;
    float target;
};

// Users go in groups, in random order, and the ratings of a group's users too: the rows and the optimizer's state of a
// group stay in the cache until the next one comes.
class Epoch {
public:
    Epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt)
        : targets_(targets),
          t_(rows),
          o_(options),
          threads_(threads),
          interrupt_(interrupt),
          n_users_(targets.n_rows()),
          size_(std::min<std::int64_t>(options.batch_size, targets.indices.size())),
          group_(std::max<std::int64_t>(kGroupFloats / rows.width, 1)),
          pairs_(size_),
          users_(n_users_, 0, false, true),
          items_(rows.n_rows - n_users_, 0, false, true),
          of_items_(static_cast<std::size_t>(std::min(size_, rows.n_rows - n_users_) * rows.width)),
          of_users_(static_cast<std::size_t>(threads * rows.width)),
          steps_(rows) {}

    double run() {
        const Permutation order(n_users_, o_.seed);
        double losses = 0.0;
        for (std::int64_t first = 0; first < n_users_ && !interrupt_.stopped(); first += group_) {
            gather(order, first, std::min(first + group_, n_users_));
            const std::int64_t n = std::ssize(entries_), batches = (n + size_ - 1) / std::max<std::int64_t>(size_, 1);
            for (std::int64_t b = 0; b < batches && !interrupt_.stopped(); ++b) {
                const std::int64_t begin = n * b / batches, end = n * (b + 1) / batches;
                losses += batch(std::span(entries_).subspan(begin, end - begin));
                interrupt_.check();
            }
        }
        return size_ > 0 ? losses / static_cast<double>(targets_.indices.size()) : 0.0;
    }

private:
    static constexpr std::int64_t kGrain = 32;
    static constexpr std::int64_t kAhead = 3;              // rows that are on their way
    static constexpr std::size_t kAheadPlaces = 16;        // ratings whose places are
    static constexpr std::int64_t kGroupFloats = 1 << 20;  // of the rows of a group's users

    struct Pair {
        std::int32_t user, item;
        float target, slope;
        double loss;
    };

    void gather(const Permutation& order, std::int64_t first, std::int64_t last) {
        entries_.clear();
        for (std::int64_t k = first; k < last; ++k) {
            const auto user = static_cast<std::int32_t>(order(k));
            for (std::int64_t e = targets_.indptr[user]; e < targets_.indptr[user + 1]; ++e) {
                entries_.push_back({user, targets_.indices[e], targets_.values[e]});
            }
        }
        Random random(o_.seed, first);
        for (std::size_t n = entries_.size(); n > 1; --n) std::swap(entries_[n - 1], entries_[random.next() % n]);
    }

    // Gradients of items first, then steps of users, then those of items: all see rows as they were before the batch.
    double batch(std::span<const Entry> entries) {
        const std::int64_t n = std::ssize(entries);
        touch(entries);
        each(items_, [&](std::int64_t p, std::int64_t last, int) {
            const std::int64_t next = std::min(p + 1, last - 1);
            prefetch(item(items_.row(next)), t_.width);
            for (const auto& share : items_.shares(next)) prefetch(t_.row(pairs_[share.source].user), t_.width);
            of_item(p, 1.0f / static_cast<float>(n));
        });
        if (interrupt_.stopped()) return 0.0;
        double losses = 0.0;
        for (std::int64_t b = 0; b < n; ++b) losses += pairs_[b].loss;
        each(users_, [&](std::int64_t p, std::int64_t last, int worker) {
            if (p + kAhead < last) steps_.prefetch(users_.row(p + kAhead));
            float* const gradient = of_users_.data() + worker * t_.width;
            of_user(p, gradient);
            steps_(users_.row(p), gradient);
        });
        each(items_, [&](std::int64_t p, std::int64_t last, int) {
            if (p + kAhead < last) steps_.prefetch(n_users_ + items_.row(p + kAhead));
            steps_(n_users_ + items_.row(p), of_items_.data() + p * t_.width);
        });
        return losses;
    }

    template <class Visit>
    void each(const TouchedRows& rows, Visit&& visit) {
        parallel_for(rows.size(), kGrain, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int worker) {
            for (std::int64_t p = first; p < last; ++p) visit(p, last, worker);
        });
    }

    void touch(std::span<const Entry> entries) {
        users_.clear();
        items_.clear();
        const Composition rows{0, nullptr};
        for (std::size_t b = 0; b < entries.size(); ++b) {
            const auto& later = entries[std::min(b + kAheadPlaces, entries.size() - 1)];
            users_.prefetch(later.user);
            items_.prefetch(later.item);
            const auto [user, item, target] = entries[b];
            users_.add(rows, user, static_cast<std::int32_t>(b));
            items_.add(rows, item, static_cast<std::int32_t>(b));
            pairs_[b] = {user, item, target, 0.0f, 0.0};
        }
        users_.sort();
        items_.sort();
    }

    float* item(std::int64_t i) const { return t_.row(n_users_ + i); }

    // An item's gradient, and with it what its ratings of the batch lose.
    void of_item(std::int64_t p, float scale) {
        const float* const own = item(items_.row(p));
        float* const gradient = of_items_.data() + p * t_.width;
        begin(own, gradient);
        float of_weight = gradient[0];
        for (const TouchedRows::Share& share : items_.shares(p)) {
            Pair& pair = pairs_[share.source];
            const float* const user = t_.row(pair.user);
            evaluate(pair, o_.offset + user[0] + own[0] + dot(user, own, t_.width) - user[0] * own[0], scale);
            axpy(pair.slope, user, gradient, t_.width);
            of_weight += pair.slope;
        }
        gradient[0] = of_weight;
    }

    void of_user(std::int64_t p, float* gradient) const {
        begin(t_.row(users_.row(p)), gradient);
        float of_weight = gradient[0];
        for (const TouchedRows::Share& share : users_.shares(p)) {
            const Pair& pair = pairs_[share.source];
            axpy(pair.slope, item(pair.item), gradient, t_.width);
            of_weight += pair.slope;
        }
        gradient[0] = of_weight;
    }

    void begin(const float* values, float* gradient) const {
        const Vec decay = broadcast(o_.weight_decay);
        for (std::ptrdiff_t j = 0; j < t_.width; j += kLanes) store(gradient + j, decay * load(values + j));
    }

    void evaluate(Pair& pair, float score, float scale) const {
        if (o_.logistic) {
            // -log sigmoid(score) of a target of 1, -log sigmoid(-score) of one of 0
            const double away = pair.target > 0.5f ? -score : score;
            pair.loss = std::max(away, 0.0) + std::log1p(std::exp(-std::abs(away)));
            pair.slope = scale * static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(score))) - pair.target);
        } else {
            const float error = score - pair.target;
            pair.loss = static_cast<double>(error) * error;
            pair.slope = 2.0f * scale * error;
        }
    }

    const Csr& targets_;
    const Table& t_;
    const FmEpoch& o_;
    int threads_;
    Interrupt& interrupt_;
    std::int64_t n_users_, size_, group_;  // size_: ratings of a batch; group_: users of a group
    std::vector<Entry> entries_;           // of a group, in random order
    std::vector<Pair> pairs_;
    TouchedRows users_, items_;
    Buffer of_items_, of_users_;  // gradients
    RowSteps steps_;
};

}  // namespace

double fm_epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt) {
    return Epoch(targets, rows, options, threads, interrupt).run();
}

}  // namespace cofactor
