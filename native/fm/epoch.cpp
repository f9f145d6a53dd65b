#include <algorithm>
#include <cmath>
#include <vector>

#include "core/random.hpp"
#include "fm/fm.hpp"
#include "sgd/step.hpp"
#include "sgd/touched.hpp"

namespace cofactor {

namespace {

class Epoch {
public:
    Epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt)
        : targets_(targets),
          t_(rows),
          o_(options),
          threads_(threads),
          interrupt_(interrupt),
          order_(targets.indices.size(), options.seed),
          user_of_(targets.indices.size()),
          size_(std::min<std::int64_t>(options.batch_size, targets.indices.size())),
          pairs_(size_),
          touched_(rows.n_rows, targets.n_rows(), true, true),
          steps_(rows) {
        const std::int64_t most = std::min(2 * size_, rows.n_rows);  // rows that a batch touches
        gradients_ = Buffer(static_cast<std::size_t>(most * rows.width));
        for (std::int64_t user = 0; user < targets.n_rows(); ++user) {
            std::fill(user_of_.begin() + targets.indptr[user], user_of_.begin() + targets.indptr[user + 1],
                      static_cast<std::int32_t>(user));
        }
    }

    double run() {
        const auto nnz = static_cast<std::int64_t>(user_of_.size());
        double losses = 0.0;
        for (std::int64_t begin = 0; begin < nnz && !interrupt_.stopped(); begin += size_) {
            const std::int64_t n = std::min(size_, nnz - begin);
            parallel_for(n, kGrain, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int) {
                read(begin, first, last);
                for (std::int64_t b = first; b < last; ++b) evaluate(pairs_[b], 1.0f / static_cast<float>(n));
            });
            interrupt_.check();
            if (interrupt_.stopped()) break;
            for (std::int64_t b = 0; b < n; ++b) losses += pairs_[b].loss;
            touch(n);
            step();
        }
        return nnz > 0 ? losses / static_cast<double>(nnz) : 0.0;
    }

private:
    static constexpr std::int64_t kGrain = 128;
    static constexpr std::int64_t kAhead = 3;  // rows whose optimizer's state is on its way

    struct Pair {
        std::uint64_t entry;
        std::int32_t user, item;  // rows of the table
        float target, slope;
        double loss;
    };

    // Entries are anywhere, and so are rows: all of a piece are on their way before the first is looked at.
    void read(std::int64_t begin, std::int64_t first, std::int64_t last) {
        for (std::int64_t b = first; b < last; ++b) {
            const std::uint64_t entry = order_(begin + b);
            pairs_[b].entry = entry;
            __builtin_prefetch(user_of_.data() + entry);
            __builtin_prefetch(targets_.indices.data() + entry);
            __builtin_prefetch(targets_.values.data() + entry);
        }
        for (std::int64_t b = first; b < last; ++b) {
            Pair& pair = pairs_[b];
            pair.user = user_of_[pair.entry];
            pair.item = static_cast<std::int32_t>(targets_.n_rows() + targets_.indices[pair.entry]);
            pair.target = targets_.values[pair.entry];
            prefetch(t_.row(pair.user), t_.width);
            prefetch(t_.row(pair.item), t_.width);
        }
    }

    void touch(std::int64_t n) {
        touched_.clear();
        const Composition rows{0, nullptr};
        for (std::int64_t b = 0; b < n; ++b) {
            touched_.add(rows, pairs_[b].user, static_cast<std::int32_t>(b));
            touched_.add(rows, pairs_[b].item, static_cast<std::int32_t>(b));
        }
        touched_.sort();
    }

    void evaluate(Pair& pair, float scale) const {
        const float *user = t_.row(pair.user), *item = t_.row(pair.item);
        const float score = o_.offset + user[0] + item[0] + dot(user, item, t_.width) - user[0] * item[0];
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

    // Gradients of all rows first: each reads the rows of the other side as they were when the batch began.
    void step() {
        const std::ptrdiff_t width = t_.width;
        parallel_for(touched_.size(), kGrain, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int) {
            for (std::int64_t p = first; p < last; ++p) {
                const std::int32_t row = touched_.row(p);
                const float* values = t_.row(row);
                float* gradient = gradients_.data() + p * width;
                const Vec decay = broadcast(o_.weight_decay);
                for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(gradient + j, decay * load(values + j));
                float of_weight = gradient[0];
                for (const TouchedRows::Share& share : touched_.shares(p)) {
                    const Pair& pair = pairs_[share.source];
                    axpy(pair.slope, t_.row(row == pair.user ? pair.item : pair.user), gradient, width);
                    of_weight += pair.slope;
                }
                gradient[0] = of_weight;
            }
        });
        parallel_for(touched_.size(), kGrain, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int) {
            for (std::int64_t p = first; p < last; ++p) {
                if (p + kAhead < last) steps_.prefetch(touched_.row(p + kAhead));
                steps_(touched_.row(p), gradients_.data() + p * width);
            }
        });
    }

    const Csr& targets_;
    const Table& t_;
    const FmEpoch& o_;
    int threads_;
    Interrupt& interrupt_;
    Permutation order_;
    std::vector<std::int32_t> user_of_;  // of every entry
    std::int64_t size_;
    std::vector<Pair> pairs_;
    TouchedRows touched_;
    RowSteps steps_;
    Buffer gradients_;
};

}  // namespace

double fm_epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt) {
    return Epoch(targets, rows, options, threads, interrupt).run();
}

}  // namespace cofactor
