#include "sgd/ratings_sgd.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/simd.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kAhead = 4;  // entries whose item is on its way

// The steps of a user over a stretch of its ratings. kWidth: of vectors that stay in registers, or 0 for longer ones.
//
// What the next rating is predicted as follows from products with the vectors before this step,
//     (keep p + t q) . q' = keep (p . q') + t (q . q'),
// so that steps wait for each other's errors only, not for sums over vectors.
template <int kWidth>
class Steps {
public:
    explicit Steps(const RatingsSgd& problem)
        : p_(problem),
          columns_(problem.ratings.indices.data()),
          values_(problem.ratings.values.data()),
          items_(problem.items),
          rate_(problem.step.learning_rate),
          bias_rate_(problem.step.bias_learning_rate),
          shrink_(problem.step.learning_rate * problem.step.regularization),
          shrink_bias_(problem.step.bias_learning_rate * problem.step.bias_regularization) {}

    // Ratings [begin, end) of a user; the sum of squared errors.
    template <bool kUpdateItems>
    double run(std::int64_t user, std::int64_t begin, std::int64_t end) const {
        const Steps own = *this;  // a copy, which no store to the vectors may change
        if (begin == end) return 0.0;
        Stream one(own, user, begin, end);
        while (one.left()) one.template step<kUpdateItems>();
        return one.finish();
    }

    // The same of two users without an item in common, by turns: neither has to wait for its own step before.
    template <bool kUpdateItems>
    double run(std::int64_t user, std::int64_t begin, std::int64_t end, std::int64_t other, std::int64_t other_begin,
               std::int64_t other_end) const {
        if (begin == end || other_begin == other_end) {
            return run<kUpdateItems>(user, begin, end) + run<kUpdateItems>(other, other_begin, other_end);
        }
        const Steps own = *this;
        Stream one(own, user, begin, end), two(own, other, other_begin, other_end);
        while (one.left() && two.left()) {
            one.template step<kUpdateItems>();
            two.template step<kUpdateItems>();
        }
        while (one.left()) one.template step<kUpdateItems>();
        while (two.left()) two.template step<kUpdateItems>();
        return one.finish() + two.finish();
    }

    // Brings closer what a user's steps from an entry on begin with.
    [[gnu::always_inline]] void fetch(std::int64_t user, std::int64_t entry) const {
        prefetch(p_.users.vectors + user * width(), width());
        __builtin_prefetch(p_.ratings.indices.data() + entry);
        __builtin_prefetch(p_.ratings.values.data() + entry);
    }

private:
    struct InRegisters {
        Vec at[kWidth / kLanes + 1];
        explicit InRegisters(const float* from) {
#pragma GCC unroll 32
            for (int v = 0; v < kWidth / kLanes; ++v) at[v] = load(from + v * kLanes);
        }
        Vec get(std::ptrdiff_t v) const { return at[v]; }
        void set(std::ptrdiff_t v, Vec x) { at[v] = x; }
        void store_to(float* to) const {
#pragma GCC unroll 32
            for (int v = 0; v < kWidth / kLanes; ++v) store(to + v * kLanes, at[v]);
        }
    };
    struct InMemory {
        float* from;
        explicit InMemory(float* at) : from(at) {}
        Vec get(std::ptrdiff_t v) const { return load(from + v * kLanes); }
        void set(std::ptrdiff_t v, Vec x) { store(from + v * kLanes, x); }
        void store_to(float*) const {}
    };
    using Row = std::conditional_t<(kWidth > 0), InRegisters, InMemory>;

    std::ptrdiff_t width() const { return kWidth > 0 ? kWidth : p_.width; }
    float* item_of(std::int64_t entry) const { return items_.vectors + columns_[entry] * width(); }

    template <class Visit>
    void each(Visit&& visit) const {
#pragma GCC unroll 32
        for (std::ptrdiff_t v = 0; v < width() / kLanes; ++v) visit(v);
    }

    // p . next and q . next
    std::pair<float, float> products(const Row& p, const float* q, const float* next) const {
        Vec of_p[2] = {}, of_q[2] = {};
        each([&](auto v) {
            const Vec y = load(next + v * kLanes);
            of_p[v % 2] += p.get(v) * y;
            of_q[v % 2] += load(q + v * kLanes) * y;
        });
        return {sum(of_p[0] + of_p[1]), sum(of_q[0] + of_q[1])};
    }

    // A user on its way through some of its ratings.
    class Stream {
    public:
        [[gnu::always_inline]] Stream(const Steps& steps, std::int64_t user, std::int64_t begin, std::int64_t end)
            : s_(steps),
              vector_(s_.p_.users.vectors + user * s_.width()),
              user_bias_(s_.p_.users.biases + user),
              item_(s_.item_of(begin)),
              p_(vector_),
              at_(begin),
              end_(end),
              keep_(1.0f - s_.shrink_ * s_.p_.users.shrinkage[user]),
              keep_bias_(1.0f - s_.shrink_bias_ * s_.p_.users.shrinkage[user]),
              bias_(*user_bias_),
              product_(dot(vector_, item_, s_.width())) {}

        bool left() const { return at_ < end_; }

        template <bool kUpdateItems>
        [[gnu::always_inline]] void step() {
            prefetch(s_.item_of(std::min(at_ + kAhead, end_ - 1)), s_.width());
            float* const next = s_.item_of(std::min(at_ + 1, end_ - 1));
            const auto [of_user, of_item] = s_.products(p_, item_, next);
            const std::int32_t column = s_.columns_[at_];
            float& item_bias = s_.items_.biases[column];
            const float shrinkage = s_.items_.shrinkage[column];
            const float over = ((s_.values_[at_] - item_bias) - bias_) - product_;  // what is known last comes last
            total_ += static_cast<double>(over) * over;
            bias_ = s_.bias_rate_ * over + keep_bias_ * bias_;
            const float share = s_.rate_ * over, keep = keep_, keep_item = 1.0f - s_.shrink_ * shrinkage;
            product_ = share * of_item + keep * of_user;
            if constexpr (kUpdateItems) {
                item_bias = (1.0f - s_.shrink_bias_ * shrinkage) * item_bias + s_.bias_rate_ * over;
            }
            s_.each([&](auto v) {
                const Vec before = p_.get(v), y = load(item_ + v * kLanes);
                p_.set(v, broadcast(share) * y + broadcast(keep) * before);
                if constexpr (kUpdateItems) {
                    store(item_ + v * kLanes, broadcast(share) * before + broadcast(keep_item) * y);
                }
            });
            item_ = next;
            ++at_;
        }

        [[gnu::always_inline]] double finish() {
            p_.store_to(vector_);
            *user_bias_ = bias_;
            return total_;
        }

    private:
        const Steps& s_;
        float *vector_, *user_bias_, *item_;
        Row p_;
        std::int64_t at_, end_;
        float keep_, keep_bias_, bias_, product_;
        double total_ = 0.0;
    };

    const RatingsSgd& p_;
    const std::int32_t* columns_;
    const float* values_;
    RatingSide items_;
    float rate_, bias_rate_, shrink_, shrink_bias_;
};

// Users of a block, items held.
template <int kWidth>
double users_epoch(const RatingsSgd& p, int threads, Interrupt& interrupt) {
    const std::int64_t blocks = std::ssize(p.users.blocks) - 1;
    std::vector<double> totals(blocks, 0.0);
    parallel_for(blocks, 1, threads, interrupt, [&](std::int64_t block, std::int64_t, int) {
        const Steps<kWidth> steps(p);
        for (std::int64_t u = p.users.blocks[block]; u < p.users.blocks[block + 1]; ++u) {
            totals[block] += steps.template run<false>(u, p.ratings.indptr[u], p.ratings.indptr[u + 1]);
        }
    });
    double total = 0.0;
    for (const double part : totals) total += part;
    return total;
}

struct Places {
    std::int64_t begin, middle, end;
};

// Two users at a time: one takes the first half of a block of items, the other the second, and then they change places.
template <int kWidth>
double strata_epoch(const RatingsSgd& p, int threads, Interrupt& interrupt) {
    const std::int64_t blocks = std::ssize(p.users.blocks) - 1, n_users = p.ratings.n_rows();
    const std::int32_t* const columns = p.ratings.indices.data();
    std::vector<std::int64_t> at(n_users);  // where each user goes on: blocks of items come in turn, in their order
    std::vector<double> totals(blocks, 0.0);
    for (std::int64_t turn = 0; turn < blocks && !interrupt.stopped(); ++turn) {
        parallel_for(blocks, 1, threads, interrupt, [&](std::int64_t block, std::int64_t, int) {
            const Steps<kWidth> steps(p);
            const std::int64_t of_items = (block + turn + p.shift) % blocks;
            const std::int32_t *cut = &p.items.blocks[2 * of_items], *const from = columns;
            // Where the ratings of a user in both halves of the block of items begin and end.
            const auto places = [&](std::int64_t u) {
                const std::int64_t begin = p.ratings.indptr[u], end = p.ratings.indptr[u + 1];
                if (turn == 0) {
                    at[u] = std::lower_bound(from + begin, from + end, cut[0]) - from;
                } else if (of_items == 0) {
                    at[u] = begin;
                }
                Places of{at[u], at[u], at[u]};
                while (of.middle < end && columns[of.middle] < cut[1]) ++of.middle;
                of.end = of.middle;
                while (of.end < end && columns[of.end] < cut[2]) ++of.end;
                return at[u] = of.end, of;
            };
            const std::int64_t last = p.users.blocks[block + 1];
            double& total = totals[block];
            for (std::int64_t u = p.users.blocks[block]; u < last; u += 2) {
                for (std::int64_t v = u + 2; v < std::min(u + 4, last); ++v) {
                    steps.fetch(v, turn == 0 ? p.ratings.indptr[v] : at[v]);
                }
                const Places a = places(u);
                if (u + 1 == last) {
                    total += steps.template run<true>(u, a.begin, a.end);
                    break;
                }
                const Places b = places(u + 1);
                total += steps.template run<true>(u, a.begin, a.middle, u + 1, b.middle, b.end);
                total += steps.template run<true>(u, a.middle, a.end, u + 1, b.begin, b.middle);
            }
        });
    }
    double total = 0.0;
    for (const double part : totals) total += part;
    return total;
}

template <int kWidth>
double epoch_of(const RatingsSgd& problem, int threads, Interrupt& interrupt) {
    return problem.update_items ? strata_epoch<kWidth>(problem, threads, interrupt)
                                : users_epoch<kWidth>(problem, threads, interrupt);
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
