#include "sgd/ratings_implicit.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/simd.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kAhead = 8;  // entries whose rows are on their way

// A batch of users, and what their steps leave to be done by the items. A user goes through its ratings with
//     x = p + s,  s = |N|^-1/2 sum of y_j:  at each step p and s both become keep times themselves plus t q,
// so that x is all that is needed. With g the sum of these t q, each shrunk by what came after it, p ends as
// decay p + g, decay = keep^n, and every y_j as decay y_j + |N|^-1/2 g. A rating costs five rows read or written.
class Batch {
public:
    explicit Batch(const RatingsImplicit& problem) : p_(problem), b_(problem.base) {
        std::int64_t most_users = 0, most_rows = 0;
        for (std::int64_t first = 0; first < b_.ratings.n_rows();) {
            first = take(first);
            most_users = std::max(most_users, users());
            most_rows = std::max(most_rows, start(end_) - start(first_) + users());
        }
        vectors_ = Buffer(most_rows * b_.width);
        moved_ = Buffer(most_users * b_.width);
        over_.resize(most_rows);
        decays_.resize(most_users);
        totals_.resize(most_users);
    }

    // Takes users from `first` on, as many as have enough ratings together; where the next batch begins.
    std::int64_t take(std::int64_t first) {
        first_ = end_ = first;
        const std::int64_t n = b_.ratings.n_rows();
        while (end_ < n && start(end_) - start(first_) < p_.batch) ++end_;
        return end_;
    }

    std::int64_t users() const { return end_ - first_; }

    // Sum of squared errors, in the order of the users.
    double total() const {
        double total = 0.0;
        for (std::int64_t k = 0; k < users(); ++k) total += totals_[k];
        return total;
    }

    // The steps of user number k.
    void step_user(std::int64_t k) {
        const std::int64_t user = first_ + k, begin = start(user), end = start(user + 1);
        const std::ptrdiff_t width = b_.width;
        const RatingStep& step = b_.step;
        totals_[k] = 0.0;
        if (begin == end) return;
        const float shrinkage = b_.users.shrinkage[user];
        const float keep = 1.0f - step.learning_rate * step.regularization * shrinkage;
        const float keep_bias = 1.0f - step.bias_learning_rate * step.bias_regularization * shrinkage;
        const float root = 1.0f / std::sqrt(static_cast<float>(end - begin));
        float *const vector = b_.users.vectors + user * width, *const first = row(begin, k);
        gather(begin, end, root, vector, first);
        float bias = b_.users.biases[user], decay = 1.0f;
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch(b_.items.vectors + column(std::min(e + kAhead, end - 1)) * width, width);
            const float *q = b_.items.vectors + column(e) * width, *x = row(e, k);
            const float over = (b_.ratings.values[e] - b_.items.biases[column(e)]) - (bias + dot(x, q, width));
            totals_[k] += static_cast<double>(over) * over;
            over_[e - start(first_)] = over;
            bias = keep_bias * bias + step.bias_learning_rate * over;
            decay *= keep;
            const Vec kept = broadcast(keep), share = broadcast(2.0f * step.learning_rate * over);
            float* const next = row(e + 1, k);
            for (std::ptrdiff_t j = 0; j < width; j += kLanes)
                store(next + j, kept * load(x + j) + share * load(q + j));
        }
        b_.users.biases[user] = bias;
        decays_[k] = decay;
        const float* const last = row(end, k);
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
            const Vec g = (load(last + j) - broadcast(decay) * load(first + j)) * 0.5f;
            store(vector + j, broadcast(decay) * load(vector + j) + g);
            store(moved_.data() + k * width + j, broadcast(root) * g);
        }
    }

    // The steps of a block of items, user after user.
    void step_items(std::int64_t block) {
        const std::int32_t from = b_.items.blocks[block], limit = b_.items.blocks[block + 1];
        const std::int32_t* const columns = b_.ratings.indices.data();
        const std::ptrdiff_t width = b_.width;
        const RatingStep& step = b_.step;
        for (std::int64_t k = 0; k < users(); ++k) {
            const std::int64_t end = start(first_ + k + 1);
            const float* const moved = moved_.data() + k * width;
            std::int64_t e = std::lower_bound(columns + start(first_ + k), columns + end, from) - columns;
            for (; e < end && columns[e] < limit; ++e) {
                const std::int64_t ahead = column(std::min(e + kAhead, end - 1)) * width;
                prefetch(b_.items.vectors + ahead, width);
                prefetch(p_.implicit + ahead, width);
                const std::int32_t item = columns[e];
                const float shrinkage = b_.items.shrinkage[item], over = over_[e - start(first_)];
                const Vec keep = broadcast(1.0f - step.learning_rate * step.regularization * shrinkage);
                const Vec share = broadcast(step.learning_rate * over), decay = broadcast(decays_[k]);
                float *const q = b_.items.vectors + item * width, *const y = p_.implicit + item * width;
                const float* const x = row(e, k);
                for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
                    store(q + j, keep * load(q + j) + share * load(x + j));
                    store(y + j, decay * load(y + j) + load(moved + j));
                }
                float& bias = b_.items.biases[item];
                bias += step.bias_learning_rate * (over - step.bias_regularization * shrinkage * bias);
            }
        }
    }

private:
    std::int64_t start(std::int64_t user) const { return b_.ratings.indptr[user]; }
    std::int64_t column(std::int64_t entry) const { return b_.ratings.indices[entry]; }

    // x of user number k before the step of an entry; the one past its last is x after all of them.
    float* row(std::int64_t entry, std::int64_t k) { return vectors_.data() + (entry - start(first_) + k) * b_.width; }

    // x = p + root times the sum of y_j.
    void gather(std::int64_t begin, std::int64_t end, float root, const float* p, float* x) const {
        const std::ptrdiff_t width = b_.width;
        std::fill_n(x, width, 0.0f);
        for (std::int64_t e = begin; e < end; ++e) {
            prefetch(p_.implicit + column(std::min(e + kAhead, end - 1)) * width, width);
            axpy(1.0f, p_.implicit + column(e) * width, x, width);
        }
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(x + j, load(p + j) + broadcast(root) * load(x + j));
    }

    const RatingsImplicit& p_;
    const RatingsSgd& b_;
    Buffer vectors_, moved_;  // x before each step; |N|^-1/2 g of each user
    std::vector<float> over_, decays_;
    std::vector<double> totals_;
    std::int64_t first_ = 0, end_ = 0;
};

}  // namespace

double ratings_implicit_epoch(const RatingsImplicit& problem, int threads, Interrupt& interrupt) {
    const std::int64_t n_users = problem.base.ratings.n_rows(), blocks = std::ssize(problem.base.items.blocks) - 1;
    Batch batch(problem);
    double total = 0.0;
    for (std::int64_t first = 0; first < n_users && !interrupt.stopped();) {
        first = batch.take(first);
        parallel_for(batch.users(), 1, threads, interrupt,
                     [&](std::int64_t k, std::int64_t, int) { batch.step_user(k); });
        if (interrupt.stopped()) break;
        parallel_for(blocks, 1, threads, interrupt,
                     [&](std::int64_t block, std::int64_t, int) { batch.step_items(block); });
        total += batch.total();
        interrupt.check();
    }
    return total;
}

}  // namespace cofactor
