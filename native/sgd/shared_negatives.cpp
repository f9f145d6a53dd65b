#include "sgd/shared_negatives.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "core/dense.hpp"
#include "sgd/shared_losses.hpp"
#include "sgd/shared_products.hpp"
#include "sgd/step.hpp"
#include "sgd/touched.hpp"

namespace cofactor {
namespace {

constexpr std::int64_t kBlock = 64;   // positives whose scores are in the cache at the same time
constexpr std::int64_t kGroups = 16;  // of blocks, each with its own sums: so many whatever the number of threads
static_assert(kBlock % kTileRows == 0 && kPad % kTileRows == 0);

// The negatives of a batch.
struct Negatives {
    Negatives(std::int64_t most, std::int64_t n_items, std::ptrdiff_t width)
        : items(most),
          first_slot(n_items, -1),
          next_slot(most),
          drawn(n_items / 64 + 1),
          scaled(most),
          biases(most),
          vectors(padded(most) * width),
          panels(padded(most) * width),
          transposed_panels(padded(most) * width),
          offsets(padded(most)),
          gradients(padded(most) * width) {}

    std::int64_t n = 0;
    std::vector<std::int32_t> items, first_slot, next_slot;  // by item the first slot that holds it; -1 for none
    std::vector<std::uint64_t> drawn;                        // a bit for every item: few enough to stay in the cache
    std::vector<Scaled> scaled;
    std::vector<float> biases;
    Buffer vectors, panels, transposed_panels, offsets, gradients;
};

// What a thread works with.
struct Room {
    Room(std::ptrdiff_t width, std::int64_t most_negatives)
        : users(kBlock * width),
          positives(kBlock * width),
          user_gradients(kBlock * width),
          scores(kBlock * spread(most_negatives)),
          counts(padded(most_negatives)) {}

    Buffer users, positives, user_gradients, scores, counts;
};

class Epoch {
public:
    Epoch(const Csr& x, const Table& vectors, const Table* biases, const Composition& users, const Composition& items,
          const SharedNegatives& options, int threads, Interrupt& interrupt)
        : x_(x),
          vectors_(vectors),
          steps_(vectors),
          bias_steps_(biases == nullptr ? vectors : *biases),
          biases_(biases),
          users_(users),
          items_(items),
          o_(options),
          threads_(threads),
          interrupt_(interrupt),
          width_(vectors.width),
          n_pairs_(static_cast<std::int64_t>(x.indices.size())),
          batch_size_(std::min(options.batch_size, n_pairs_)),
          most_negatives_(options.in_batch ? std::min(options.negatives, batch_size_) : options.negatives),
          seed_(mixed(options.seed ^ mixed(options.epoch + 1))),
          order_(n_pairs_, seed_),
          negatives_(most_negatives_, options.items.n_items, width_),
          touched_(vectors.n_rows, x.n_rows(), options.update_users, options.update_items),
          user_of_(n_pairs_),
          pairs_(batch_size_),
          pair_gradients_(2 * batch_size_ * width_),
          bias_gradients_(batch_size_ + most_negatives_),
          losses_(kGroups) {
        for (int t = 0; t < threads; ++t) rooms_.emplace_back(width_, most_negatives_);
        for (std::int64_t g = 0; g < kGroups && options.update_items; ++g) {
            sums_.emplace_back(padded(most_negatives_) * width_);
            bias_sums_.emplace_back(padded(most_negatives_));
        }
        for (std::int64_t u = 0; u < x.n_rows(); ++u) {
            std::fill(user_of_.begin() + x.indptr[u], user_of_.begin() + x.indptr[u + 1], static_cast<std::int32_t>(u));
        }
    }

    double run() {
        double loss = 0.0;
        for (std::int64_t begin = 0, batch = 0; begin < n_pairs_; begin += batch_size_, ++batch) {
            n_ = std::min(batch_size_, n_pairs_ - begin);
            draw(begin, batch);
            if (interrupt_.stopped()) break;
            gather_negatives();
            over_groups();
            sum_negatives();
            if (interrupt_.stopped()) break;
            step();
            for (const double part : losses_) loss += part;
        }
        return loss / static_cast<double>(std::max<std::int64_t>(n_pairs_, 1));
    }

private:
    struct Pair {
        std::int32_t user, item;
        float weight;
    };

    // Positives and negatives of a batch, and which rows they touch.
    void draw(std::int64_t begin, std::int64_t batch) {
        parallel_for(n_, 256, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int) {
            for (std::int64_t b = first; b < last; ++b) {
                const auto e = static_cast<std::int64_t>(order_(begin + b));
                pairs_[b] = {user_of_[e], x_.indices[e], x_.values[e]};
            }
        });
        if (interrupt_.stopped()) return;  // not all are drawn
        Negatives& to = negatives_;
        for (std::int64_t k = 0; k < to.n; ++k) {
            to.first_slot[to.items[k]] = -1;
            to.drawn[to.items[k] / 64] = 0;
        }
        to.n = o_.in_batch ? std::min(most_negatives_, n_) : most_negatives_;
        Random random(seed_, batch);
        for (std::int64_t k = 0; k < to.n; ++k) {
            const std::int32_t item = o_.in_batch ? pairs_[k].item : o_.items(random);
            to.items[k] = item;
            to.next_slot[k] = to.first_slot[item];
            to.first_slot[item] = static_cast<std::int32_t>(k);
            to.drawn[item / 64] |= 1ull << item % 64;
        }
        touched_.clear();
        for (std::int64_t b = 0; b < n_ && o_.update_users; ++b) {
            touched_.add(users_, pairs_[b].user, static_cast<std::int32_t>(b));
        }
        for (std::int64_t b = 0; b < n_ && o_.update_items; ++b) {
            touched_.add(items_, pairs_[b].item, static_cast<std::int32_t>(n_ + b));
        }
        for (std::int64_t k = 0; k < to.n && o_.update_items; ++k) {
            touched_.add(items_, to.items[k], static_cast<std::int32_t>(2 * n_ + k));
        }
        touched_.sort();
    }

    float bias_of(std::int32_t item) const {
        float bias = 0.0f;
        if (biases_ != nullptr) compose(*biases_, items_, item, &bias);
        return bias;
    }

    float score_scale() const { return o_.loss == SharedLoss::ccl ? 1.0f : 1 / o_.temperature; }

    void gather_negatives() {
        Negatives& to = negatives_;
        const std::ptrdiff_t padded_n = padded(to.n);
        parallel_for(padded_n / kPad, 2, threads_, interrupt_, [&](std::int64_t first, std::int64_t last, int) {
            for (std::int64_t k = first * kPad; k < last * kPad; ++k) {
                float* const vector = to.vectors.data() + k * width_;
                to.offsets.data()[k] = kNever;
                if (k >= to.n) {
                    std::fill_n(vector, width_, 0.0f);
                    continue;
                }
                compose(vectors_, items_, to.items[k], vector);
                to.scaled[k] = normalise(vector, width_, o_.cosine);
                to.biases[k] = bias_of(to.items[k]);
                to.offsets.data()[k] = to.biases[k] * score_scale() - (o_.log_q.empty() ? 0.0f : o_.log_q[to.items[k]]);
            }
        });
        pack_panels(padded_n, width_, to.vectors.data(), width_, to.panels.data());
        pack_transposed(padded_n, width_, to.vectors.data(), to.transposed_panels.data());
    }

    // Pieces of the batch, with sums of their own, which do not depend on the number of threads.
    void over_groups() {
        const std::int64_t blocks = (n_ + kBlock - 1) / kBlock;
        std::fill(losses_.begin(), losses_.end(), 0.0);
        parallel_for(n_groups(), 1, threads_, interrupt_, [&](std::int64_t g, std::int64_t, int worker) {
            const std::int64_t first = blocks * g / n_groups(), last = blocks * (g + 1) / n_groups();
            for (std::int64_t block = first; block < last; ++block) {
                over_block(block * kBlock, std::min(n_, (block + 1) * kBlock), g, block == first, rooms_[worker]);
            }
        });
    }

    std::int64_t n_groups() const { return std::min(kGroups, (n_ + kBlock - 1) / kBlock); }

    void over_block(std::int64_t begin, std::int64_t end, std::int64_t group, bool fresh, Room& room) {
        const std::int64_t n = end - begin;
        const Negatives& from = negatives_;
        const std::ptrdiff_t columns = padded(from.n), stride = spread(from.n);
        Scaled users[kBlock], positives[kBlock];
        for (std::int64_t r = 0; r < n; ++r) {
            if (o_.exact) {
                const auto seen = row_of(x_, pairs_[begin + r].user);
                prefetch(reinterpret_cast<const float*>(seen.data()), static_cast<std::ptrdiff_t>(seen.size()));
            }
            compose(vectors_, users_, pairs_[begin + r].user, room.users.data() + r * width_);
            compose(vectors_, items_, pairs_[begin + r].item, room.positives.data() + r * width_);
        }
        for (std::int64_t r = 0; r < n; ++r) {
            users[r] = normalise(room.users.data() + r * width_, width_, o_.cosine);
            positives[r] = normalise(room.positives.data() + r * width_, width_, o_.cosine);
        }
        multiply_block(n, width_, columns, room.users.data(), width_, from.transposed_panels.data(), room.scores.data(),
                       stride);
        RowLoss rows[kBlock];
        for (std::int64_t r = 0; r < n; ++r) rows[r] = loss_of(begin + r, r, stride, group, room);
        if (o_.update_users) {
            multiply_block(n, columns, width_, room.scores.data(), stride, from.panels.data(),
                           room.user_gradients.data(), width_);
        }
        for (std::int64_t r = 0; r < n; ++r) {
            gradients_of(begin + r, rows[r], users[r], positives[r], r, room);
        }
        if (o_.update_items) {
            add_transposed_product(n, columns, width_, room.scores.data(), stride, room.users.data(), fresh,
                                   sums_[group].data());
        }
        if (o_.update_items && biases_ != nullptr) {
            float* const sums = bias_sums_[group].data();
            if (fresh) std::fill_n(sums, columns, 0.0f);
            for (std::int64_t r = 0; r < n; ++r) {
                axpy(rows[r].by_negatives, room.scores.data() + r * stride, sums, columns);
            }
        }
    }

    // Leaves in the scores of row r what is to be multiplied with the result's by_negatives.
    RowLoss loss_of(std::int64_t b, std::int64_t r, std::ptrdiff_t stride, std::int64_t group, Room& room) {
        const Pair& pair = pairs_[b];
        float* const scores = room.scores.data() + r * stride;
        const float positive =
            dot(room.users.data() + r * width_, room.positives.data() + r * width_, width_) + bias_of(pair.item);
        exclude({&pair.item, 1}, scores);
        if (o_.exact) exclude(row_of(x_, pair.user), scores);
        const float* counts = nullptr;
        if (o_.n_fields > 0) {
            count_negatives(pair.item, scores, room.counts.data());
            counts = room.counts.data();
        }
        const RowTerms terms{padded(negatives_.n), score_scale(), negatives_.offsets.data()};
        RowLoss row = row_loss(scores, counts, terms, positive, pair.user, o_);
        losses_[group] += pair.weight * row.loss;
        const float share = pair.weight / static_cast<float>(n_);
        row.by_positive *= share;
        row.by_negatives *= share;
        return row;
    }

    // Items that are no negatives for a row. Few of many items are among the drawn: these are found without branches.
    void exclude(std::span<const std::int32_t> items, float* scores) const {
        constexpr std::size_t kSome = 64;
        std::int32_t found[kSome];
        for (std::size_t begin = 0; begin < items.size(); begin += kSome) {
            int n = 0;
            for (const std::int32_t item : items.subspan(begin, std::min(kSome, items.size() - begin))) {
                found[n] = item;
                n += static_cast<int>(negatives_.drawn[item / 64] >> item % 64 & 1);
            }
            for (int f = 0; f < n; ++f) {
                std::int32_t k = negatives_.first_slot[found[f]];
                for (; k >= 0; k = negatives_.next_slot[k]) scores[k] = kNever;
            }
        }
    }

    // How much each negative counts beside a positive of its group or another.
    void count_negatives(std::int32_t item, float* scores, float* counts) const {
        const std::int32_t* const own = o_.groups.data() + item * o_.n_fields;
        for (std::int64_t k = 0; k < negatives_.n; ++k) {
            const std::int32_t* const other = o_.groups.data() + negatives_.items[k] * o_.n_fields;
            float count = 1.0f;
            for (std::int64_t f = 0; f < o_.n_fields; ++f) count -= own[f] == other[f] ? o_.discounts[f] : 0.0f;
            counts[k] = std::max(count, 0.0f);
            if (!(count > 0.0f)) scores[k] = kNever;
        }
    }

    void gradients_of(std::int64_t b, const RowLoss& row, const Scaled& user, const Scaled& positive, std::int64_t r,
                      Room& room) {
        const float regularization = o_.regularization / static_cast<float>(n_);
        float *const u = room.users.data() + r * width_, *const i = room.positives.data() + r * width_;
        float* const by_user = pair_gradients_.data() + b * width_;
        float* const by_item = pair_gradients_.data() + (n_ + b) * width_;
        const Vec by_negatives = broadcast(row.by_negatives), by_positive = broadcast(row.by_positive);
        if (o_.update_users) {
            const float* const sums = room.user_gradients.data() + r * width_;
            for (std::ptrdiff_t j = 0; j < width_; j += kLanes) {
                store(by_user + j, load(sums + j) * by_negatives + load(i + j) * by_positive);
            }
            through_normalisation(by_user, u, user, width_, o_.cosine, regularization);
        }
        if (!o_.update_items) return;
        for (std::ptrdiff_t j = 0; j < width_; j += kLanes) store(by_item + j, load(u + j) * by_positive);
        through_normalisation(by_item, i, positive, width_, o_.cosine, regularization);
        for (std::ptrdiff_t j = 0; j < width_; j += kLanes) store(u + j, load(u + j) * by_negatives);
        if (biases_ != nullptr) {
            const float share = o_.bias_regularization / static_cast<float>(n_);
            bias_gradients_[b] = row.by_positive + share * bias_of(pairs_[b].item);
        }
    }

    // The derivatives by the vectors of the negatives: sums over groups, in order.
    void sum_negatives() {
        if (!o_.update_items) return;
        Negatives& to = negatives_;
        const float regularization = o_.regularization / static_cast<float>(to.n);
        parallel_for(to.n, 32, threads_, interrupt_, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t k = begin; k < end; ++k) {
                float* const gradient = to.gradients.data() + k * width_;
                std::copy_n(sums_[0].data() + k * width_, width_, gradient);
                for (std::int64_t g = 1; g < n_groups(); ++g)
                    axpy(1.0f, sums_[g].data() + k * width_, gradient, width_);
                through_normalisation(gradient, to.vectors.data() + k * width_, to.scaled[k], width_, o_.cosine,
                                      regularization);
                if (biases_ == nullptr) continue;
                float& by_bias = bias_gradients_[n_ + k];
                by_bias = o_.bias_regularization / static_cast<float>(to.n) * to.biases[k];
                for (std::int64_t g = 0; g < n_groups(); ++g) by_bias += bias_sums_[g].data()[k];
            }
        });
    }

    const float* gradient(std::int32_t source) const {
        return source < 2 * n_ ? pair_gradients_.data() + source * width_
                               : negatives_.gradients.data() + (source - 2 * n_) * width_;
    }

    // Every row that was touched takes one step.
    void step() {
        constexpr std::int64_t kAhead = 10;  // rows whose numbers are on their way
        parallel_for(touched_.size(), 64, threads_, interrupt_, [&](std::int64_t begin, std::int64_t end, int worker) {
            float* const sum = rooms_[worker].users.data();
            for (std::int64_t p = begin; p < end; ++p) {
                if (p + kAhead < touched_.size()) steps_.prefetch(touched_.row(p + kAhead));
                std::fill_n(sum, width_, 0.0f);
                for (const auto& [source, weight] : touched_.shares(p)) axpy(weight, gradient(source), sum, width_);
                steps_(touched_.row(p), sum);
                if (biases_ != nullptr) step_bias(p);
            }
        });
    }

    void step_bias(std::int64_t p) {
        float sum = 0.0f;
        bool any = false;
        for (const auto& [source, weight] : touched_.shares(p)) {
            if (source < n_) continue;  // users have no biases
            any = true;
            sum += weight * bias_gradients_[source - n_];
        }
        if (any) bias_steps_(touched_.row(p), &sum);
    }

    const Csr& x_;
    const Table& vectors_;
    const RowSteps steps_, bias_steps_;  // the second is used where there are biases
    const Table* biases_;
    const Composition &users_, &items_;
    const SharedNegatives& o_;
    int threads_;
    Interrupt& interrupt_;
    std::ptrdiff_t width_;
    std::int64_t n_pairs_, batch_size_, most_negatives_;
    std::uint64_t seed_;
    Permutation order_;
    Negatives negatives_;
    TouchedRows touched_;
    std::vector<std::int32_t> user_of_;
    std::vector<Pair> pairs_;
    Buffer pair_gradients_;  // by user vectors, then by those of positives
    std::vector<float> bias_gradients_;
    std::vector<double> losses_;  // of every group
    std::vector<Buffer> sums_, bias_sums_;
    std::vector<Room> rooms_;
    std::int64_t n_ = 0;  // pairs of this batch
};

}  // namespace

double shared_negatives_epoch(const Csr& x, const Table& vectors, const Table* biases, const Composition& users,
                              const Composition& items, const SharedNegatives& options, int threads,
                              Interrupt& interrupt) {
    if (x.indices.empty()) return 0.0;
    return Epoch(x, vectors, biases, users, items, options, threads, interrupt).run();
}

}  // namespace cofactor
