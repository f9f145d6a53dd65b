#include <algorithm>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "core/row.hpp"
#include "core/stages.hpp"
#include "fm/loss.hpp"
#include "fm/relation_batches.hpp"
#include "fm/relation_blocks.hpp"
#include "fm/relations.hpp"
#include "sgd/step.hpp"

namespace cofactor {

namespace {

// With x for the features of a user or an item, id included, t = sum_j x_j v_j for its total, and S for the sum of the
// totals of all that a rating is of, whose loss has the slope g: the gradient of v_j is the sum over ratings of
//     x_j g (S - t) + x_j g (t - x_j v_j) = x_j (g S) - x_j^2 g v_j,
// so that all a row of features needs of a user are the sums of g S and of g over its ratings.
//
// In a block of batches everybody's features are added up once; they are stepped at its end. Batches go through in
// stages: totals, what is predicted, steps of ids. kWidth: as in fm_epoch.
class RelationsEpoch {
public:
    RelationsEpoch(const Csr& targets, const FmRelations& relations, const Table& rows, const FmEpoch& options,
                   int threads, Interrupt& interrupt)
        : targets_(targets),
          r_(relations),
          t_(rows),
          o_(options),
          threads_(threads),
          interrupt_(interrupt),
          n_users_(targets.n_rows()),
          n_ids_(n_users_ + relations.items.n_rows()),
          first_feature_(n_ids_ + relations.n_categories),
          size_(std::min<std::int64_t>(options.batch_size, targets.indices.size())),
          group_(std::max(kGroupFloats / rows.width, users_of(kBlocks * relations.batches))),
          blocks_(targets, relations, rows.width, threads),
          totals_(static_cast<std::size_t>(size_ * (2 + relations.n_columns) * rows.width)),
          sums_(static_cast<std::size_t>(size_ * rows.width)),
          room_(static_cast<std::size_t>(threads * 2 * rows.width)),
          steps_(rows) {
        if (relations.n_features() > 0) {
            of_features_ = Buffer(static_cast<std::size_t>(n_ids_ * rows.width));
            gradients_ = Buffer(static_cast<std::size_t>(n_ids_ * rows.width));
            feature_gradients_ = Buffer(static_cast<std::size_t>(relations.n_features() * rows.width));
            slope_sums_.assign(relations.n_features(), 0.0f);
            touched_.assign(relations.n_features(), 0);
            for (std::int64_t j = 0; j < relations.n_features(); ++j) {
                squares_.push_back(squares_after_first(Row<0>(t_.row(first_feature_ + j)), t_.width));
            }
        }
        switch (rows.width) {
            case 16:
                work_ = &RelationsEpoch::work<16>;
                break;
            case 32:
                work_ = &RelationsEpoch::work<32>;
                break;
            case 48:
                work_ = &RelationsEpoch::work<48>;
                break;
            case 64:
                work_ = &RelationsEpoch::work<64>;
                break;
            case 128:
                work_ = &RelationsEpoch::work<128>;
                break;
            default:
                work_ = &RelationsEpoch::work<0>;
        }
    }

    double run() {
        const Permutation order(n_users_, o_.seed);
        std::vector<std::int32_t> users;
        double losses = 0.0;
        for (std::int64_t first = 0; first < n_users_ && !interrupt_.stopped(); first += group_) {
            users.clear();
            for (std::int64_t k = first; k < std::min(first + group_, n_users_); ++k) {
                users.push_back(static_cast<std::int32_t>(order(k)));
            }
            std::sort(users.begin(), users.end());
            const std::int64_t n = blocks_.assign(users, size_, o_.seed, first, interrupt_);
            const std::int64_t of_block = std::clamp<std::int64_t>(r_.batches, 1, std::max<std::int64_t>(n, 1));
            const std::int64_t at_once = of_block * std::max<std::int64_t>(kBatches / of_block, 1);
            for (std::int64_t b = 0; b < n && !interrupt_.stopped(); b += at_once) {
                losses += some_blocks(b, std::min(at_once, n - b), of_block);
                interrupt_.check();
            }
        }
        return size_ > 0 ? losses / static_cast<double>(targets_.indices.size()) : 0.0;
    }

private:
    using Stage = RelationStage;

    static constexpr std::int64_t kBatches = 32;           // that are got ready at once, unless a block has more
    static constexpr std::int64_t kGroupFloats = 1 << 20;  // of the rows of a group's users
    static constexpr std::int64_t kBlocks = 4;             // of a group at least, so that its last one weighs little
    static constexpr std::int64_t kAhead = 4;              // rows that are on their way

    // About as many as rate so many batches; at least one.
    std::int64_t users_of(std::int64_t batches) const {
        const double share = static_cast<double>(batches) * size_ / std::max<double>(targets_.indices.size(), 1.0);
        return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::min(share, 1.0) * n_users_), 1, n_users_ + 1);
    }

    double some_blocks(std::int64_t first, std::int64_t n, std::int64_t of_block) {
        blocks_.ready(first, n, of_block, interrupt_);
        if (interrupt_.stopped()) return 0.0;
        slopes_.resize(std::max<std::size_t>(slopes_.size(), blocks_.n_ratings()));
        losses_.resize(slopes_.size());
        const std::vector<Stage>& stages = blocks_.stages();
        parallel_stages(
            std::ssize(stages), threads_, interrupt_, [&](std::int64_t stage) { return stages[stage].pieces; },
            [&](std::int64_t stage, std::int64_t piece, int worker) { (this->*work_)(stages[stage], piece, worker); });
        if (interrupt_.stopped()) return 0.0;
        return std::accumulate(losses_.begin(), losses_.begin() + blocks_.n_ratings(), 0.0);
    }

    template <int kWidth>
    void work(const Stage& stage, std::int64_t piece, int worker) {
        const std::int64_t begin = piece * Stage::kGrain, end = begin + Stage::kGrain;
        const RelationBlock& block = blocks_.block(stage.block);
        const RelationBatch& batch = blocks_.batch(stage.batch);
        const std::int64_t start = blocks_.start(stage.batch);
        const auto least = [&](std::int64_t size) { return std::min(end, size); };
        switch (stage.kind) {
            case Stage::kSum:
                for (std::int64_t k = begin; k < least(std::ssize(block.rows)); ++k) add_up<kWidth>(block.rows[k]);
                break;
            case Stage::kTotal:
                for (std::int64_t d = begin; d < least(batch.n_rows()); ++d) total<kWidth>(batch, d);
                break;
            case Stage::kPredict:
                for (std::int64_t k = begin; k < least(batch.size()); ++k) predict<kWidth>(batch, k, start);
                break;
            case Stage::kStep:
                for (std::int64_t d = begin; d < least(batch.n_rows()); ++d) {
                    step<kWidth>(batch, d, start, room_.data() + worker * 2 * t_.width);
                }
                break;
            case Stage::kScatter:
                scatter(block, piece % 2 == 1, piece / 2 * Stage::kSlice);
                break;
            case Stage::kFeatures:
                for (std::int64_t j = begin; j < least(r_.n_features()); ++j) {
                    if (touched_[j] != 0)
                        step_feature<kWidth>(j, 1.0f / static_cast<float>(block.n),
                                             room_.data() + worker * 2 * t_.width);
                }
        }
    }

    struct Features {
        std::span<const std::int32_t> indices;
        std::span<const float> values;
        std::int64_t first;  // number of the side's first one
    };

    Features features(std::int64_t row) const {
        const bool item = row >= n_users_;
        const Csr& x = item ? r_.items : r_.users;
        const std::int64_t own = item ? row - n_users_ : row, at = x.indptr[own], n = x.length(own);
        return {x.indices.subspan(at, n), x.values.subspan(at, n), item ? r_.n_user_features : 0};
    }

    float* feature(std::int64_t j) const { return t_.row(first_feature_ + j); }

    template <int kWidth>
    std::ptrdiff_t width() const {
        return kWidth > 0 ? kWidth : t_.width;
    }

    // A row in registers, or in that room.
    template <int kWidth>
    [[gnu::always_inline]] Row<kWidth> copied(const Row<kWidth>& from, float* room) const {
        Row<kWidth> row = Row<kWidth>::in(room);
        each_vector<kWidth>(width<kWidth>(), [&](auto v) { row.set(v, from.get(v)); });
        return row;
    }

    template <int kWidth>
    [[gnu::always_inline]] Row<kWidth> zeros(float* room) const {
        Row<kWidth> row = Row<kWidth>::in(room);
        each_vector<kWidth>(width<kWidth>(), [&](auto v) { row.set(v, Vec{}); });
        return row;
    }

    template <int kWidth>
    [[gnu::always_inline]] void put(const Row<kWidth>& row, float* to, float first) const {
        each_vector<kWidth>(width<kWidth>(), [&](auto v) { store(to + v * kLanes, row.get(v)); });
        to[0] = first;
    }

    // A bias and a vector of all features of a user or an item: without its id, and what they make with that.
    template <int kWidth>
    void add_up(std::int64_t row) {
        float* const out = of_features_.data() + row * width<kWidth>();
        Row<kWidth> sum = zeros<kWidth>(out);
        const auto [indices, values, first] = features(row);
        const std::ptrdiff_t n = std::ssize(indices);
        double squares = 0.0;
        for (std::ptrdiff_t k = 0; k < n; ++k) {
            if (k + kAhead < n) prefetch(feature(first + indices[k + kAhead]), width<kWidth>());
            const std::int64_t j = first + indices[k];
            axpy(values[k], Row<kWidth>(feature(j)), sum, width<kWidth>());
            squares += static_cast<double>(values[k]) * values[k] * squares_[j];
        }
        const float among = static_cast<float>(0.5 * (squares_after_first(sum, width<kWidth>()) - squares));
        put(sum, out, sum.first() + among);
    }

    // Of row d of the batch.
    template <int kWidth>
    void total(const RelationBatch& batch, std::int64_t d) {
        const std::int64_t row = batch.row(d);
        prefetch(t_.row(batch.row(std::min(d + kAhead, batch.n_rows() - 1))), width<kWidth>());
        float* const out = totals_.data() + d * width<kWidth>();
        const Row<kWidth> id(t_.row(row));
        if (!blocks_.has_features(row)) {
            put(id, out, id.first());
            return;
        }
        const Row<kWidth> more(of_features_.data() + row * width<kWidth>());
        const float weights = id.first() * more.first(), bias = id.first() + more.first();
        Row<kWidth> sum = copied(id, out);
        axpy(1.0f, more, sum, width<kWidth>());
        put(sum, out, bias + dot(id, more, width<kWidth>()) - weights);
    }

    // at: where the slopes of the batch begin.
    template <int kWidth>
    void predict(const RelationBatch& batch, std::int64_t k, std::int64_t at) {
        const auto total_of = [&](std::int64_t side) {
            return Row<kWidth>(totals_.data() + batch.place(side, k) * width<kWidth>());
        };
        float* const out = sums_.data() + k * width<kWidth>();
        Row<kWidth> sum = copied(total_of(0), out);
        float score = o_.offset + sum.first();
        for (std::int64_t side = 1; side < 2 + r_.n_columns; ++side) {
            const Row<kWidth> more = total_of(side);
            const float biases = sum.first() * more.first();
            score += more.first() + dot(sum, more, width<kWidth>()) - biases;
            axpy(1.0f, more, sum, width<kWidth>());
        }
        put(sum, out, 1.0f);  // so that sums of these have the slopes first
        slopes_[at + k] = slope_of_loss(o_, losses_[at + k], batch.entries()[k].target, score,
                                        1.0f / static_cast<float>(batch.size()));
    }

    // Of the id of row d, by the ratings that have it; room: for its gradient, and for the row.
    template <int kWidth>
    void step(const RelationBatch& batch, std::int64_t d, std::int64_t at, float* room) {
        const std::int64_t row = batch.row(d);
        steps_.prefetch(batch.row(std::min(d + kAhead, batch.n_rows() - 1)));
        Row<kWidth> gradient = zeros<kWidth>(room);
        for (const std::int32_t k : batch.ratings(d)) {
            axpy(slopes_[at + k], Row<kWidth>(sums_.data() + k * width<kWidth>()), gradient, width<kWidth>());
        }
        if (blocks_.has_features(row)) {
            Row<0> all(gradients_.data() + row * width<kWidth>());
            each_vector<kWidth>(width<kWidth>(), [&](auto v) { all.set(v, all.get(v) + gradient.get(v)); });
        }
        const Row<kWidth> own(t_.row(row));
        const float slopes = gradient.first(), of_weight = slopes + o_.weight_decay * own.first();
        axpy(o_.weight_decay - slopes, own, gradient, width<kWidth>());
        apply(row, own, gradient, of_weight, room, room + width<kWidth>());
    }

    // What the users or the items of a block bring their features, in some coordinates.
    void scatter(const RelationBlock& block, bool items, std::int64_t slice) {
        constexpr int kVectors = Stage::kSlice / kLanes;
        for (const std::int32_t row : block.rows) {
            if ((row >= n_users_) != items) continue;
            float* const from = gradients_.data() + row * t_.width + slice;
            const float slopes = from[0];
            Vec own[kVectors];
            for (int v = 0; v < kVectors; ++v) own[v] = load(from + v * kLanes);
            const auto [indices, values, first] = features(row);
            for (std::ptrdiff_t k = 0; k < std::ssize(indices); ++k) {
                float* const to = feature_gradients_.data() + (first + indices[k]) * t_.width + slice;
                const Vec x = broadcast(values[k]);
                for (int v = 0; v < kVectors; ++v) store(to + v * kLanes, load(to + v * kLanes) + x * own[v]);
                if (slice == 0) {
                    slope_sums_[first + indices[k]] += values[k] * values[k] * slopes;
                    touched_[first + indices[k]] = 1;
                }
            }
            std::fill_n(from, Stage::kSlice, 0.0f);
        }
    }

    // scale: of the sums of a block, which are those of the mean losses of its batches; room: for the row before.
    template <int kWidth>
    void step_feature(std::int64_t j, float scale, float* room) {
        float* const sums = feature_gradients_.data() + j * width<kWidth>();
        const Row<kWidth> own(feature(j)), given(sums);
        const float of_weight = scale * given.first() + o_.weight_decay * own.first();
        const Vec by = broadcast(scale), decay = broadcast(o_.weight_decay - scale * slope_sums_[j]);
        Row<kWidth> gradient = Row<kWidth>::in(sums);
        each_vector<kWidth>(width<kWidth>(), [&](auto v) { gradient.set(v, by * given.get(v) + decay * own.get(v)); });
        apply(first_feature_ + j, own, gradient, of_weight, sums, room);
        squares_[j] = squares_after_first(Row<kWidth>(feature(j)), width<kWidth>());
        std::fill_n(sums, width<kWidth>(), 0.0f);
        slope_sums_[j] = 0.0f;
        touched_[j] = 0;
    }

    // gradient: all but its first number, which is of_weight; its_room: where it lies, or may; room: for the row
    // before.
    template <int kWidth>
    [[gnu::always_inline]] void apply(std::int64_t row, const Row<kWidth>& own, const Row<kWidth>& gradient,
                                      float of_weight, float* its_room, float* room) const {
        const bool slower = row >= n_ids_ && r_.rates[row - n_ids_] != 1.0f;
        const Row<kWidth> before = slower ? copied(own, room) : own;
        if (t_.step.kind == Optimizer::row_adam) {
            steps_.by_row(row, own, gradient, of_weight, squares_after_first(gradient, width<kWidth>()));
        } else {
            put(gradient, its_room, of_weight);
            steps_.template step<kWidth>(row, its_room);
        }
        if (!slower) return;
        Row<kWidth> now(t_.row(row));
        const float weight = now.first();
        const Vec rate = broadcast(r_.rates[row - n_ids_]);
        each_vector<kWidth>(width<kWidth>(),
                            [&](auto v) { now.set(v, before.get(v) + rate * (now.get(v) - before.get(v))); });
        put(now, t_.row(row), weight);
    }

    const Csr& targets_;
    const FmRelations& r_;
    const Table& t_;
    const FmEpoch& o_;
    int threads_;
    Interrupt& interrupt_;
    std::int64_t n_users_, n_ids_, first_feature_;  // rows of users; of users and items; of all but features
    std::int64_t size_, group_;                     // ratings of a batch, users of a group
    RelationBlocks blocks_;
    std::vector<float> slopes_;  // and losses, of the batches that are ready
    std::vector<double> losses_;
    Buffer totals_, sums_, room_;     // of a batch's rows, of the totals of its ratings, and for a gradient a worker
    Buffer of_features_, gradients_;  // of users and items: what their features add up to, and what theirs have to get
    Buffer feature_gradients_;
    std::vector<float> slope_sums_, squares_;  // of features: what the penalty is less by; squared lengths
    std::vector<std::uint8_t> touched_;
    RowSteps steps_;
    void (RelationsEpoch::*work_)(const Stage&, std::int64_t, int) = nullptr;
};

}  // namespace

double fm_relations_epoch(const Csr& targets, const FmRelations& relations, const Table& rows, const FmEpoch& options,
                          int threads, Interrupt& interrupt) {
    return RelationsEpoch(targets, relations, rows, options, threads, interrupt).run();
}

}  // namespace cofactor
