#include <algorithm>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "core/row.hpp"
#include "core/stages.hpp"
#include "fm/batches.hpp"
#include "fm/fm.hpp"
#include "fm/loss.hpp"
#include "sgd/step.hpp"

namespace cofactor {

namespace {

// Users go in random groups, and the ratings of a group's users in random order: the rows and the optimizer's state of
// a group stay in the cache until the next one comes. What bounds a pass is how fast rows and state come from there, so
// a batch touches each of them once: an item with one rating in the batch is stepped beside its user. The others wait
// for all users, of whose rows as they were copies are kept for them.
//
// What is done by rows is compiled for some widths. kWidth: of rows that stay in registers, or 0 for wider ones and for
// optimizers other than row_adam.
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
          batches_(std::clamp<std::int64_t>(kRatings / std::max<std::int64_t>(size_, 1), 1, kBatches)),
          counts_(threads, std::vector<std::int32_t>(rows.n_rows - n_users_, 0)),
          slopes_(batches_.size() * size_),
          losses_(slopes_.size()),
          copies_(static_cast<std::size_t>(std::min({size_, group_, n_users_}) * rows.width)),
          gradients_(static_cast<std::size_t>(threads * 2 * rows.width)),
          steps_(rows) {
        switch (rows.step.kind == Optimizer::row_adam ? rows.width : 0) {
            case 16:
                take<16>();
                break;
            case 32:
                take<32>();
                break;
            case 48:
                take<48>();
                break;
            case 64:
                take<64>();
                break;
            case 80:
                take<80>();
                break;
            case 96:
                take<96>();
                break;
            case 112:
                take<112>();
                break;
            case 128:
                take<128>();
                break;
            default:
                take<0>();
        }
    }

    double run() {
        const Permutation order(n_users_, o_.seed);
        std::vector<std::int32_t> users;
        const auto at_once = std::ssize(batches_);
        double losses = 0.0;
        for (std::int64_t first = 0; first < n_users_ && !interrupt_.stopped(); first += group_) {
            users.clear();
            for (std::int64_t k = first; k < std::min(first + group_, n_users_); ++k) {
                users.push_back(static_cast<std::int32_t>(order(k)));
            }
            std::sort(users.begin(), users.end());  // rows and ratings that lie one after the other are found sooner
            ratings_.assign(targets_, users, size_, o_.seed, first, threads_, interrupt_);
            for (std::int64_t b = 0; b < ratings_.size() && !interrupt_.stopped(); b += at_once) {
                losses += some_batches(b, std::min(at_once, ratings_.size() - b));
                interrupt_.check();
            }
        }
        return size_ > 0 ? losses / static_cast<double>(targets_.indices.size()) : 0.0;
    }

private:
    template <int kWidth>
    void take() {
        of_users_ = &Epoch::of_users<kWidth>;
        of_repeated_ = &Epoch::of_repeated<kWidth>;
    }

    static constexpr std::int64_t kGrain = 32, kPieces = 8;           // rows of a piece at least, pieces of a thread
    static constexpr std::int64_t kAheadUsers = 2, kAheadItems = 3;   // rows that are on their way
    static constexpr std::int64_t kBatches = 32, kRatings = 1 << 15;  // that are got ready at once
    static constexpr std::int64_t kGroupFloats = 1 << 20;             // of the rows of a group's users

    // Batches first, first + 1, ... of the group. Each has two stages: its users, then its repeated items.
    double some_batches(std::int64_t first, std::int64_t n) {
        parallel_for(n, 1, threads_, interrupt_, [&](std::int64_t b, std::int64_t, int worker) {
            batches_[b].assign(ratings_.entries(first + b), counts_[worker]);
        });
        if (interrupt_.stopped()) return 0.0;
        const auto rows = [&](std::int64_t stage) {
            const Batch& batch = batches_[stage / 2];
            return stage % 2 == 0 ? batch.n_users() : std::ssize(batch.repeated());
        };
        const auto pieces = [&](std::int64_t stage) {
            return std::min<std::int64_t>((rows(stage) + kGrain - 1) / kGrain, kPieces * threads_);
        };
        parallel_stages(2 * n, threads_, interrupt_, pieces, [&](std::int64_t stage, std::int64_t piece, int worker) {
            const Batch& batch = batches_[stage / 2];
            const std::int64_t begin = rows(stage) * piece / pieces(stage);
            const std::int64_t end = rows(stage) * (piece + 1) / pieces(stage);
            const std::int64_t at = ratings_.begin(first + stage / 2) - ratings_.begin(first);
            const float scale = 1.0f / static_cast<float>(batch.entries().size());
            float* const gradients = gradients_.data() + worker * 2 * t_.width;
            if (stage % 2 == 0) {
                (this->*of_users_)(batch, begin, end, scale, at, gradients);
            } else {
                (this->*of_repeated_)(batch, begin, end, at, gradients);
            }
        });
        if (interrupt_.stopped()) return 0.0;
        const std::int64_t size = ratings_.begin(first + n) - ratings_.begin(first);
        return std::accumulate(losses_.begin(), losses_.begin() + size, 0.0);
    }

    // Users [begin, end) of a batch and the items that no other rating of the batch has. at: where its slopes begin.
    template <int kWidth>
    void of_users(const Batch& batch, std::int64_t begin, std::int64_t end, float scale, std::int64_t at,
                  float* gradients) {
        // Rows come first and what is kept of them later: more than a dozen lines at once would keep all else waiting.
        const std::int64_t last = batch.start(end) - 1;
        const auto user = [&](std::int64_t u) { return batch.user(std::min(u, end - 1)); };
        const auto entry = [&](std::int64_t k) -> const BatchEntry& { return batch.entries()[std::min(k, last)]; };
        for (std::int64_t ahead = 0; ahead < kAheadItems; ++ahead) {  // what is wanted first comes first
            if (ahead < kAheadUsers) steps_.prefetch(user(begin + ahead));
            steps_.prefetch(n_users_ + entry(batch.start(begin) + ahead).item);
        }
        for (std::int64_t u = begin; u < end; ++u) {
            prefetch(t_.row(user(u + kAheadUsers)), t_.width);
            const Row<kWidth> own(t_.row(batch.user(u)));
            if (batch.copy(u) >= 0) {
                float* const copy = copies_.data() + batch.copy(u) * width<kWidth>();
                each_vector<kWidth>(width<kWidth>(), [&](auto v) { store(copy + v * kLanes, own.get(v)); });
            }
            Row<kWidth> gradient = decayed(own, gradients);
            float of_weight = o_.weight_decay * own.first();
            const float squares = squares_after_first(own, width<kWidth>());
            for (std::int32_t k = batch.start(u); k < batch.start(u + 1); ++k) {
                of_weight += of_rating(batch.entries()[k], entry(k + kAheadItems), scale, at + k, own, squares,
                                       gradient, gradients + width<kWidth>());
            }
            steps_.prefetch_state(user(u + kAheadUsers));
            step(batch.user(u), own, gradient, of_weight, squares_after_first(gradient, width<kWidth>()));
        }
    }

    // What a rating adds to the gradient of its user, and a step of its item unless that is repeated. Gives the slope.
    // ahead: a rating to come; squares: the squared length of the user's vector; room: for the item's gradient.
    template <int kWidth>
    [[gnu::always_inline]] float of_rating(const BatchEntry& e, const BatchEntry& ahead, float scale, std::int64_t at,
                                           const Row<kWidth>& user, float squares, Row<kWidth>& of_user, float* room) {
        prefetch(item(ahead.item), t_.width);
        const Row<kWidth> own(item(e.item));
        const float weights = user.first() * own.first();
        const float product = dot(user, own, width<kWidth>()) - weights;
        const float slope = evaluate(at, e.target, o_.offset + user.first() + own.first() + product, scale);
        axpy(slope, own, of_user, width<kWidth>());
        if (ahead.repeated < 0) steps_.prefetch_state(n_users_ + ahead.item);
        if (e.repeated < 0) {
            Row<kWidth> gradient = decayed(own, room);
            axpy(slope, user, gradient, width<kWidth>());
            // The square of decay own + slope user does not have to wait for these.
            const float decay = o_.weight_decay, of_own = squares_after_first(own, width<kWidth>());
            step(n_users_ + e.item, own, gradient, decay * own.first() + slope,
                 decay * decay * of_own + slope * (2.0f * decay * product + slope * squares));
        }
        return slope;
    }

    template <int kWidth>
    void of_repeated(const Batch& batch, std::int64_t begin, std::int64_t end, std::int64_t at, float* room) {
        const auto ahead = [&](std::int64_t r) { return n_users_ + batch.repeated()[std::min(r, end - 1)]; };
        for (std::int64_t r = begin; r < begin + kAheadItems; ++r) steps_.prefetch(ahead(r));
        for (std::int64_t r = begin; r < end; ++r) {
            steps_.prefetch(ahead(r + kAheadItems));
            const std::int64_t row = n_users_ + batch.repeated()[r];
            const Row<kWidth> own(t_.row(row));
            Row<kWidth> gradient = decayed(own, room);
            float of_weight = o_.weight_decay * own.first();
            for (const Batch::Share& share : batch.shares(r)) {
                const float slope = slopes_[at + share.entry];
                axpy(slope, Row<kWidth>(copies_.data() + share.copy * width<kWidth>()), gradient, width<kWidth>());
                of_weight += slope;
            }
            step(row, own, gradient, of_weight, squares_after_first(gradient, width<kWidth>()));
        }
    }

    // gradient: all but its first number, which is of_weight; squares: their squared length.
    template <int kWidth>
    [[gnu::always_inline]] void step(std::int64_t row, const Row<kWidth>& own, Row<kWidth>& gradient, float of_weight,
                                     float squares) const {
        if constexpr (kWidth == 0) {
            if (t_.step.kind != Optimizer::row_adam) {
                gradient.from[0] = of_weight;
                steps_(row, gradient.from);
                return;
            }
        }
        steps_.by_row(row, own, gradient, of_weight, squares);
    }

    template <int kWidth>
    std::ptrdiff_t width() const {
        return kWidth > 0 ? kWidth : t_.width;
    }

    float* item(std::int64_t i) const { return t_.row(n_users_ + i); }

    // The gradient of the penalty.
    template <int kWidth>
    [[gnu::always_inline]] Row<kWidth> decayed(const Row<kWidth>& own, float* room) const {
        Row<kWidth> gradient = Row<kWidth>::in(room);
        each_vector<kWidth>(width<kWidth>(), [&](auto v) { gradient.set(v, broadcast(o_.weight_decay) * own.get(v)); });
        return gradient;
    }

    // The slope of the loss in what is predicted.
    float evaluate(std::int64_t at, float target, float score, float scale) {
        return slopes_[at] = slope_of_loss(o_, losses_[at], target, score, scale);
    }

    const Csr& targets_;
    const Table& t_;
    const FmEpoch& o_;
    int threads_;
    Interrupt& interrupt_;
    std::int64_t n_users_, size_, group_;  // size_: ratings of a batch; group_: users of a group
    ShuffledRatings ratings_;              // of a group
    std::vector<Batch> batches_;
    std::vector<std::vector<std::int32_t>> counts_;  // of items, for each worker
    std::vector<float> slopes_;                      // and losses, of the batches that are ready
    std::vector<double> losses_;
    Buffer copies_, gradients_;  // gradients: two for each worker
    RowSteps steps_;
    void (Epoch::*of_users_)(const Batch&, std::int64_t, std::int64_t, float, std::int64_t, float*) = nullptr;
    void (Epoch::*of_repeated_)(const Batch&, std::int64_t, std::int64_t, std::int64_t, float*) = nullptr;
};

}  // namespace

double fm_epoch(const Csr& targets, const Table& rows, const FmEpoch& options, int threads, Interrupt& interrupt) {
    return Epoch(targets, rows, options, threads, interrupt).run();
}

}  // namespace cofactor
