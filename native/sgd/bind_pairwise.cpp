// Positives against negatives of their own, for Python.
#include <nanobind/stl/tuple.h>

#include <vector>

#include "core/random.hpp"
#include "sgd/bind_table.hpp"
#include "sgd/pairwise.hpp"

namespace {

using Groups = std::optional<nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>>;

cofactor::PairLoss pair_loss(const std::string& name) {
    using cofactor::PairLoss;
    check(name == "bpr" || name == "hinge" || name == "adaptive_hinge" || name == "warp" || name == "logistic",
          "loss must be bpr, hinge, adaptive_hinge, warp or logistic");
    return name == "bpr"              ? PairLoss::bpr
           : name == "hinge"          ? PairLoss::hinge
           : name == "adaptive_hinge" ? PairLoss::adaptive_hinge
           : name == "warp"           ? PairLoss::warp
                                      : PairLoss::logistic;
}

// 1 + 1/2 + ... + 1/r for the rank r that a violation found after so many trials suggests.
std::vector<float> warp_weights(std::int64_t n_trials, std::int64_t n_items) {
    std::vector<double> harmonic(std::max<std::int64_t>(n_items, 2));
    for (std::size_t r = 1; r < harmonic.size(); ++r) harmonic[r] = harmonic[r - 1] + 1.0 / static_cast<double>(r);
    std::vector<float> weights(n_trials);
    for (std::int64_t t = 1; t <= n_trials; ++t) {
        weights[t - 1] = static_cast<float>(harmonic[std::max<std::int64_t>(1, (n_items - 1) / t)]);
    }
    return weights;
}

std::tuple<double, std::int64_t, std::int64_t> pairwise_epoch(
    In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> weights, std::int64_t n_items,
    OutMatrix<float> values, OutMatrix<float> first, OutMatrix<float> second, Out1<std::int32_t> steps,
    const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
    OutMatrix<float> bias_values, OutMatrix<float> bias_first, OutMatrix<float> bias_second,
    Out1<std::int32_t> bias_steps, const std::string& bias_optimizer, float bias_learning_rate, float bias_epsilon,
    float bias_beta1, float bias_beta2, Indptr user_indptr, Indices user_rows, Values user_weights, Indptr item_indptr,
    Indices item_rows, Values item_weights, const std::string& loss, bool exact, std::int64_t negatives, Values keep,
    Indices alias, Indptr disliked_indptr, Indices disliked_indices, float dislike_share, Groups groups,
    Values group_discounts, float margin, float regularization, float bias_regularization, float falls_to,
    std::uint64_t seed, std::uint64_t epoch, bool deterministic, std::int64_t batch_size, bool update_users,
    bool update_items, int threads) {
    const cofactor::Csr x = csr(indptr, indices, &weights);
    const std::int64_t n_users = x.n_rows();
    const cofactor::Table vectors =
        table(values, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2);
    const cofactor::Table biases = table(bias_values, bias_first, bias_second, bias_steps, bias_optimizer,
                                         bias_learning_rate, bias_epsilon, bias_beta1, bias_beta2);
    const bool biased = bias_values.shape(0) > 0;
    const cofactor::ItemSampler sampler = item_sampler(n_items, keep, alias);
    check(vectors.width % cofactor::kPad == 0, "vectors must be padded");
    check(vectors.n_rows >= n_users + n_items, "vectors must have a row for every user and every item");
    check(!biased || (biases.width == 1 && biases.n_rows == vectors.n_rows),
          "biases must have one number for every row of vectors");
    const auto user_parts = vector_parts(user_indptr, user_rows, user_weights, n_users, vectors.n_rows, threads);
    const auto item_parts = vector_parts(item_indptr, item_rows, item_weights, n_items, vectors.n_rows, threads);
    const auto dislikes = pattern(disliked_indptr, disliked_indices, n_users, n_items, threads);
    check(negatives >= 1 && negatives < 1 << 16, "negatives must be at least 1 and below 2^16");
    check(batch_size >= 1 && batch_size * (negatives + 2) < 1ll << 31,
          "batch_size must be at least 1, and so must be room for 2^31 vectors");
    check(groups.has_value() == group_discounts.has_value(), "groups and group_discounts come together");
    const std::size_t n_fields = groups ? groups->shape(1) : 0;
    check(!groups || (static_cast<std::int64_t>(groups->shape(0)) == n_items && group_discounts->size() == n_fields),
          "groups must have one row for every item and one discount for every column");
    const std::vector<float> by_trials = warp_weights(negatives, n_items);
    const cofactor::Pairwise options{
        pair_loss(loss),
        negatives,
        margin,
        regularization,
        bias_regularization,
        falls_to,
        {sampler, exact ? &x : nullptr, dislikes ? &*dislikes : nullptr, dislike_share},
        static_cast<std::int64_t>(n_fields),
        groups ? std::span<const std::int32_t>{groups->data(), groups->size()} : std::span<const std::int32_t>{},
        group_discounts ? view(*group_discounts) : std::span<const float>{},
        by_trials,
        cofactor::Random(seed, epoch).next(),
        batch_size,
        update_users,
        update_items};
    cofactor::PairwiseEpoch done{};
    const auto train = deterministic ? &cofactor::pairwise_epoch_deterministic : &cofactor::pairwise_epoch;
    run(threads, &x, n_items, [&](cofactor::Interrupt& interrupt) {
        done = train(x, vectors, biased ? &biases : nullptr, {0, user_parts ? &*user_parts : nullptr},
                     {n_users, item_parts ? &*item_parts : nullptr}, options, threads, interrupt);
    });
    return {done.loss, done.skipped, done.violations};
}

}  // namespace

void bind_pairwise(nb::module_& m) {
    m.def("pairwise_epoch", &pairwise_epoch, "indptr"_a, "indices"_a, "weights"_a, "n_items"_a, "values"_a.noconvert(),
          "first"_a.noconvert(), "second"_a.noconvert(), "steps"_a.noconvert(), "optimizer"_a, "learning_rate"_a,
          "epsilon"_a, "beta1"_a, "beta2"_a, "bias_values"_a.noconvert(), "bias_first"_a.noconvert(),
          "bias_second"_a.noconvert(), "bias_steps"_a.noconvert(), "bias_optimizer"_a, "bias_learning_rate"_a,
          "bias_epsilon"_a, "bias_beta1"_a, "bias_beta2"_a, "user_indptr"_a.none(), "user_rows"_a.none(),
          "user_weights"_a.none(), "item_indptr"_a.none(), "item_rows"_a.none(), "item_weights"_a.none(), "loss"_a,
          "exact"_a, "negatives"_a, "keep"_a.none(), "alias"_a.none(), "disliked_indptr"_a.none(),
          "disliked_indices"_a.none(), "dislike_share"_a, "groups"_a.none(), "group_discounts"_a.none(), "margin"_a,
          "regularization"_a, "bias_regularization"_a, "falls_to"_a, "seed"_a, "epoch"_a, "deterministic"_a,
          "batch_size"_a, "update_users"_a, "update_items"_a, "threads"_a);
}
