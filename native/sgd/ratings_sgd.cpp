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

    // Ratings [begin, end) of a user, of which there are some; the sum of squared errors.
    template <bool kUpdateItems>
    double run(std::int64_t user, std::int64_t begin, std::int64_t end) const {
        // Copies, which no store to the vectors may change.
        const Steps own = *this;
        const float shrinkage = p_.users.shrinkage[user], keep = 1.0f - own.shrink_ * shrinkage,
                    keep_bias = 1.0f - own.shrink_bias_ * shrinkage;
        float *const vector = p_.users.vectors + user * width(), *item = own.item_of(begin);
        Row p(vector);
        float bias = p_.users.biases[user], product = dot(vector, item, width());
        double total = 0.0;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch(own.item_of(std::min(e + kAhead, end - 1)), width());
            const std::int32_t column = own.columns_[e];
            float* const next = own.item_of(std::min(e + 1, end - 1));
            const auto [of_user, of_item] = own.products(p, item, next);
            float& item_bias = own.items_.biases[column];
            const float shrinkage_item = own.items_.shrinkage[column];
            const float over = ((own.values_[e] - item_bias) - bias) - product;  // what is known last comes last
            total += static_cast<double>(over) * over;
            bias = own.bias_rate_ * over + keep_bias * bias;
            const float share = own.rate_ * over, keep_item = 1.0f - own.shrink_ * shrinkage_item;
            product = share * of_item + keep * of_user;
            if constexpr (kUpdateItems) {
                item_bias = (1.0f - own.shrink_bias_ * shrinkage_item) * item_bias + own.bias_rate_ * over;
            }
            own.each([&](auto v) {
                const Vec before = p.get(v), y = load(item + v * kLanes);
                p.set(v, broadcast(share) * y + broadcast(keep) * before);
                if constexpr (kUpdateItems) {
                    store(item + v * kLanes, broadcast(share) * before + broadcast(keep_item) * y);
                }
            });
            item = next;
        }
        p.store_to(vector);
        p_.users.biases[user] = bias;
        return total;
    }

    // Brings closer what a user's steps from an entry on begin with.
    void fetch(std::int64_t user, std::int64_t entry) const {
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
            if (p.ratings.length(u) == 0) continue;
            totals[block] += steps.template run<false>(u, p.ratings.indptr[u], p.ratings.indptr[u + 1]);
        }
    });
    double total = 0.0;
    for (const double part : totals) total += part;
    return total;
}

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
            const std::int32_t first = p.items.blocks[of_items], limit = p.items.blocks[of_items + 1];
            const std::int64_t limit_of_users = p.users.blocks[block + 1];
            for (std::int64_t u = p.users.blocks[block]; u < limit_of_users; ++u) {
                const std::int64_t end = p.ratings.indptr[u + 1];
                if (turn == 0) {
                    at[u] = std::lower_bound(columns + p.ratings.indptr[u], columns + end, first) - columns;
                } else if (of_items == 0) {
                    at[u] = p.ratings.indptr[u];
                }
                if (u + 2 < limit_of_users) steps.fetch(u + 2, turn == 0 ? p.ratings.indptr[u + 2] : at[u + 2]);
                std::int64_t to = at[u];
                while (to < end && columns[to] < limit) ++to;
                if (to > at[u]) totals[block] += steps.template run<true>(u, at[u], to);
                at[u] = to;
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
