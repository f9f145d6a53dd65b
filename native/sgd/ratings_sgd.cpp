#include "sgd/ratings_sgd.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/row.hpp"
#include "core/stages.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kUsersAhead = 2;
constexpr std::int64_t kAhead = 2;             // entries whose item is on its way, where a block's items are many
constexpr std::int64_t kManyFloats = 1 << 17;  // of the vectors of a block of items
constexpr std::int32_t kNoLimit = std::numeric_limits<std::int32_t>::max();

// What a step reads of an item besides its vector.
struct alignas(16) ItemState {
    float bias, keep, keep_bias;  // keep: what a step leaves of the vector, keep_bias of the bias
};

// What the steps of an epoch share.
struct Epoch {
    explicit Epoch(const RatingsSgd& p)
        : indptr(p.ratings.indptr.data()),
          columns(p.ratings.indices.data()),
          values(p.ratings.values.data()),
          users(p.users),
          items(p.items),
          width(p.width),
          rate(p.step.learning_rate),
          bias_rate(p.step.bias_learning_rate),
          shrink(p.step.learning_rate * p.step.regularization),
          shrink_bias(p.step.bias_learning_rate * p.step.bias_regularization),
          at(p.ratings.n_rows()) {}

    const std::int64_t* indptr;
    const std::int32_t* columns;
    const float* values;
    RatingSide users, items;
    std::ptrdiff_t width;
    float rate, bias_rate, shrink, shrink_bias;
    bool far = false;               // whether items have to be asked for ahead
    std::vector<ItemState> states;  // of items, where these are updated
    std::vector<std::int64_t> at;   // where each user goes on: blocks of items come in turn, in their order
};

// A way through the ratings of a block of users, as far as their columns are below a limit. What a step needs next
// stays in registers; a copy of the epoch's pointers is kept, which no store to the vectors may change.
template <int kWidth, bool kUpdateItems>
class Lane {
public:
    [[gnu::always_inline]] Lane(Epoch& epoch, std::int64_t block, std::int32_t limit)
        : columns_(epoch.columns),
          values_(epoch.values),
          items_(epoch.items.vectors),
          item_biases_(epoch.items.biases),
          states_(epoch.states.data()),
          rate_(epoch.rate),
          bias_rate_(epoch.bias_rate),
          far_(epoch.far),
          limit_(limit),
          user_(epoch.users.blocks[block] - 1),
          last_user_(epoch.users.blocks[block + 1]),
          e_(epoch),
          vector_(epoch.users.vectors),
          own_(Row<kWidth>::in(vector_)) {
        next_user();
    }

    bool left() const { return at_ < end_; }
    double total() const { return total_; }

    [[gnu::always_inline]] void step() {
        const std::int64_t column = columns_[at_];
        float* const item = items_ + column * width();
        const float known = (values_[at_] - bias_of(column)) - bias_;  // what is known last comes last
        Vec parts[2] = {};
        each([&](auto v) { parts[v % 2] += own_.get(v) * load(item + v * kLanes); });
        const float over = known - sum(parts[0] + parts[1]);
        squares_ += over * over;
        bias_ = bias_rate_ * over + keep_bias_ * bias_;
        const Vec share = broadcast(rate_ * over), keep = broadcast(keep_);
        Vec keep_item{};
        if constexpr (kUpdateItems) {
            ItemState& state = states_[column];
            state.bias = state.keep_bias * state.bias + bias_rate_ * over;
            keep_item = broadcast(state.keep);
        }
        each([&](auto v) {
            const Vec y = load(item + v * kLanes), before = own_.get(v);
            if constexpr (kUpdateItems) store(item + v * kLanes, share * before + keep_item * y);
            Vec after = keep * before;
#if defined(__GNUC__) && defined(__AVX512F__)
            asm("" : "+v"(after));  // where it was: else a register is copied at every step
#endif
            own_.set(v, after + share * y);
        });
        ++at_;
        if (far_) prefetch(items_ + columns_[std::min(at_ + kAhead, end_ - 1)] * width(), width());
        if (at_ >= end_ || columns_[at_] >= limit_) [[unlikely]] {
            leave();
            next_user();
        }
    }

private:
    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : e_.width; }

    float bias_of(std::int64_t item) const { return kUpdateItems ? states_[item].bias : item_biases_[item]; }

    template <class Visit>
    [[gnu::always_inline]] void each(Visit&& visit) const {
        each_vector<kWidth>(width(), visit);
    }

    [[gnu::always_inline]] void leave() {
        if constexpr (kWidth > 0) each([&](auto v) { store(vector_ + v * kLanes, own_.get(v)); });
        e_.users.biases[user_] = bias_;
        e_.at[user_] = at_;
        total_ += squares_;
    }

    [[gnu::always_inline]] void next_user() {
        do {
            if (++user_ >= last_user_) {
                at_ = end_ = 0;
                return;
            }
            at_ = e_.at[user_];
            end_ = e_.indptr[user_ + 1];
        } while (at_ >= end_ || columns_[at_] >= limit_);
        vector_ = e_.users.vectors + user_ * width();
        own_ = Row<kWidth>(vector_);
        if (user_ + kUsersAhead < last_user_) {
            prefetch(vector_ + kUsersAhead * width(), width());
            __builtin_prefetch(columns_ + e_.at[user_ + kUsersAhead]);
            __builtin_prefetch(values_ + e_.at[user_ + kUsersAhead]);
        }
        bias_ = e_.users.biases[user_];
        keep_ = 1.0f - e_.shrink * e_.users.shrinkage[user_];
        keep_bias_ = 1.0f - e_.shrink_bias * e_.users.shrinkage[user_];
        squares_ = 0.0f;
    }

    const std::int32_t* columns_;
    const float* values_;
    float* items_;
    const float* item_biases_;  // where items are held
    ItemState* states_;
    float rate_, bias_rate_;
    bool far_;
    std::int32_t limit_;
    std::int64_t user_, last_user_, at_ = 0, end_ = 0;
    Epoch& e_;
    float* vector_;
    Row<kWidth> own_;
    float bias_ = 0.0f, keep_ = 0.0f, keep_bias_ = 0.0f, squares_ = 0.0f;
    double total_ = 0.0;
};

// Blocks of users two at a time, a step of each by turns: neither has to wait for its own step before.
template <int kWidth, bool kUpdateItems>
double epoch_of(const RatingsSgd& p, int threads, Interrupt& interrupt) {
    const std::int64_t blocks = std::ssize(p.users.blocks) - 1;
    Epoch epoch(p);
    if constexpr (kUpdateItems) {
        const std::int64_t n_items = p.items.blocks[blocks];
        epoch.states.reserve(n_items);
        for (std::int64_t i = 0; i < n_items; ++i) {
            const float shrinkage = p.items.shrinkage[i];
            epoch.states.push_back(
                {p.items.biases[i], 1.0f - epoch.shrink * shrinkage, 1.0f - epoch.shrink_bias * shrinkage});
        }
        epoch.far = n_items * p.width / blocks > kManyFloats;
    }
    std::vector<double> totals(blocks, 0.0);
    // Where a block of users begins with a block of items, and where its columns end.
    const auto begin = [&](std::int64_t block, std::int64_t turn) {
        const std::int64_t of_items = (block + turn + p.shift) % blocks;
        const bool first = !kUpdateItems || of_items == 0;
        for (std::int64_t u = p.users.blocks[block]; (first || turn == 0) && u < p.users.blocks[block + 1]; ++u) {
            const std::int32_t *const from = epoch.columns + epoch.indptr[u], *const to =
                                                                                  epoch.columns + epoch.indptr[u + 1];
            epoch.at[u] = (first ? from : std::lower_bound(from, to, p.items.blocks[of_items])) - epoch.columns;
        }
        return kUpdateItems ? p.items.blocks[of_items + 1] : kNoLimit;
    };
    const auto pairs = [&](std::int64_t) { return blocks / 2; };
    parallel_stages(kUpdateItems ? blocks : 1, threads, interrupt, pairs,
                    [&](std::int64_t turn, std::int64_t pair, int) {
                        const std::int32_t limits[2] = {begin(2 * pair, turn), begin(2 * pair + 1, turn)};
                        Lane<kWidth, kUpdateItems> one(epoch, 2 * pair, limits[0]), two(epoch, 2 * pair + 1, limits[1]);
                        while (one.left() && two.left()) {
                            one.step();
                            two.step();
                        }
                        while (one.left()) one.step();
                        while (two.left()) two.step();
                        totals[2 * pair] += one.total();
                        totals[2 * pair + 1] += two.total();
                    });
    for (std::size_t i = 0; i < epoch.states.size(); ++i) p.items.biases[i] = epoch.states[i].bias;
    double total = 0.0;
    for (const double part : totals) total += part;
    return total;
}

template <int kWidth>
double epoch_of(const RatingsSgd& problem, int threads, Interrupt& interrupt) {
    return problem.update_items ? epoch_of<kWidth, true>(problem, threads, interrupt)
                                : epoch_of<kWidth, false>(problem, threads, interrupt);
}

}  // namespace

double ratings_sgd_epoch(const RatingsSgd& problem, int threads, Interrupt& interrupt) {
    const auto epoch = [&] {
        switch (problem.width) {
            case 16:
                return &epoch_of<16>;
            case 32:
                return &epoch_of<32>;
            case 48:
                return &epoch_of<48>;
            case 64:
                return &epoch_of<64>;
            case 80:
                return &epoch_of<80>;
            case 96:
                return &epoch_of<96>;
            case 112:
                return &epoch_of<112>;
            case 128:
                return &epoch_of<128>;
            default:
                return &epoch_of<0>;
        }
    }();
    return epoch(problem, threads, interrupt);
}

}  // namespace cofactor
