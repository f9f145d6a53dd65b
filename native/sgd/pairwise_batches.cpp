#include <algorithm>
#include <vector>

#include "sgd/pairwise.hpp"
#include "sgd/pairwise_sample.hpp"
#include "sgd/step.hpp"
#include "sgd/touched.hpp"

namespace cofactor {

namespace {

// All that is known of a batch: the gradients of its samples' vectors, user first, then the items.
class Batches {
public:
    Batches(const Csr& x, const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
            const Pairwise& options, int threads, Interrupt& interrupt)
        : x_(x),
          t_(vectors),
          biases_(biases),
          users_(users),
          items_(items),
          o_(options),
          width_(vectors.width),
          size_(std::min<std::int64_t>(options.batch_size, x.indices.size())),
          slots_(2 + (one_negative() ? 1 : options.n_negatives)),
          threads_(threads),
          interrupt_(interrupt),
          order_(x.indices.size(), options.seed),
          user_of_(x.indices.size()),
          gradients_(size_ * slots_ * width_),
          bias_gradients_(size_ * slots_),
          found_(size_),
          touched_(vectors.n_rows, x.n_rows(), options.update_users, options.update_items),
          steps_(vectors),
          bias_steps_(biases == nullptr ? vectors : *biases) {
        for (std::int64_t user = 0; user < x.n_rows(); ++user) {
            std::fill(user_of_.begin() + x.indptr[user], user_of_.begin() + x.indptr[user + 1],
                      static_cast<std::int32_t>(user));
        }
        for (int w = 0; w < threads; ++w) {
            samples_.emplace_back(vectors, biases, users, items, options);
            rows_.emplace_back(width_);
        }
        for (Found& found : found_) found.items.resize(slots_ - 1);
    }

    PairwiseEpoch run() {
        const auto nnz = static_cast<std::int64_t>(user_of_.size());
        PairwiseEpoch total{};
        for (std::int64_t begin = 0; begin < nnz && !interrupt_.stopped(); begin += size_) {
            const std::int64_t n = std::min(size_, nnz - begin);
            parallel_for(n, kGrain, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int worker) {
                for (std::int64_t b = first; b < last; ++b) evaluate(b, order_(begin + b), samples_[worker]);
            });
            interrupt_.check();
            if (interrupt_.stopped()) break;
            for (std::int64_t b = 0; b < n; ++b) {
                total.loss += found_[b].loss;
                total.skipped += found_[b].skipped;
            }
            const float share = rate_share(o_, begin, begin + n, nnz);
            steps_.slow_down(share);
            bias_steps_.slow_down(share);
            step(n);
        }
        for (const PairwiseSample<0>& sample : samples_) total.violations += sample.violations();
        return total;
    }

private:
    static constexpr std::int64_t kGrain = 64;

    struct Found {
        std::int32_t user;
        std::int64_t n;                   // items that take part; 0: nothing moves
        std::vector<std::int32_t> items;  // -1: its gradient is zero
        float loss;
        bool skipped;
    };

    bool one_negative() const { return o_.loss == PairLoss::adaptive_hinge || o_.loss == PairLoss::warp; }

    // From the parameters as they were when the batch began.
    void evaluate(std::int64_t b, std::int64_t entry, PairwiseSample<0>& sample) {
        Found& found = found_[b];
        found = {user_of_[entry], 0, std::move(found.items), 0, false};
        const Seen seen = o_.negatives.seen_by(found.user);
        Random random(o_.seed, static_cast<std::uint64_t>(entry));
        Random ahead = random;
        if (o_.negatives(found.user, seen, ahead) < 0) {
            found.skipped = true;
            return;
        }
        found.loss = sample.evaluate(found.user, x_.indices[entry], x_.values[entry],
                                     [&](std::int64_t) { return o_.negatives(found.user, seen, random); });
        if (!sample.moves()) return;
        found.n = sample.n();
        const std::int64_t at = b * slots_;
        Row<0> by_user(gradients_.data() + at * width_);
        sample.by_user(by_user);
        bias_gradients_.data()[at] = sample.by_user_bias();
        for (std::int64_t k = 0; k < found.n; ++k) {
            found.items[k] = sample.by_score(k) == 0 ? -1 : sample.item(k);
            Row<0> by_item(gradients_.data() + (at + 1 + k) * width_);
            sample.by_item(k, by_item);
            bias_gradients_.data()[at + 1 + k] = sample.by_item_bias(k);
        }
    }

    // Every row that the batch touches takes one, against the sum of its gradients in the order of the samples.
    void step(std::int64_t n) {
        touched_.clear();
        for (std::int64_t b = 0; b < n; ++b) {
            if (found_[b].n == 0) continue;
            touched_.add(users_, found_[b].user, static_cast<std::int32_t>(b * slots_));
            for (std::int64_t k = 0; k < found_[b].n; ++k) {
                if (found_[b].items[k] < 0) continue;
                touched_.add(items_, found_[b].items[k], static_cast<std::int32_t>(b * slots_ + 1 + k));
            }
        }
        touched_.sort();
        parallel_for(touched_.size(), kGrain, threads_, interrupt_,
                     [&](std::int64_t first, std::int64_t last, int worker) {
                         for (std::int64_t p = first; p < last; ++p) step_row_of(p, rows_[worker].data());
                     });
    }

    void step_row_of(std::int64_t p, float* sum) {
        std::fill_n(sum, width_, 0.0f);
        float of_bias = 0;
        bool biased = false;
        for (const TouchedRows::Share& share : touched_.shares(p)) {
            axpy(share.weight, gradients_.data() + share.source * width_, sum, width_);
            if (share.source % slots_ == 0 && o_.loss != PairLoss::logistic) continue;  // users have no bias then
            of_bias += share.weight * bias_gradients_.data()[share.source];
            biased = true;
        }
        steps_(touched_.row(p), sum);
        if (biases_ != nullptr && biased) bias_steps_(touched_.row(p), &of_bias);
    }

    const Csr& x_;
    const Table& t_;
    const Table* biases_;
    const Composition &users_, &items_;
    const Pairwise& o_;
    std::ptrdiff_t width_;
    std::int64_t size_, slots_;
    int threads_;
    Interrupt& interrupt_;
    Permutation order_;
    std::vector<std::int32_t> user_of_;  // of every entry
    Buffer gradients_, bias_gradients_;  // slots_ for every sample
    std::vector<Found> found_;
    TouchedRows touched_;
    RowSteps steps_, bias_steps_;             // the second is used where there are biases
    std::vector<PairwiseSample<0>> samples_;  // of the workers
    std::vector<Buffer> rows_;
};

}  // namespace

PairwiseEpoch pairwise_epoch_deterministic(const Csr& x, const Table& vectors, const Table* biases,
                                           const Composition& users, const Composition& items, const Pairwise& options,
                                           int threads, Interrupt& interrupt) {
    return Batches(x, vectors, biases, users, items, options, threads, interrupt).run();
}

}  // namespace cofactor
