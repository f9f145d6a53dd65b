// Batches with shared negatives for Python.
#include <array>

#include "sgd/bind_table.hpp"
#include "sgd/shared_negatives.hpp"

namespace {

cofactor::SharedLoss loss_named(const std::string& name) {
    using cofactor::SharedLoss;
    check(name == "softmax" || name == "bsl" || name == "ccl" || name == "softmax@k",
          "loss must be softmax, bsl, ccl or softmax@k");
    return name == "softmax" ? SharedLoss::softmax
           : name == "bsl"   ? SharedLoss::bsl
           : name == "ccl"   ? SharedLoss::ccl
                             : SharedLoss::softmax_at_k;
}

template <class T>
std::span<const T> one_each(const std::optional<In1<T>>& a, std::size_t n, const char* what) {
    if (!a) return {};
    check(a->size() == n, what);
    return view(*a);
}

double shared_negatives_epoch(
    In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> weights, std::int64_t n_items,
    OutMatrix<float> values, OutMatrix<float> first, OutMatrix<float> second, Out1<std::int32_t> steps,
    const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
    OutMatrix<float> bias_values, OutMatrix<float> bias_first, OutMatrix<float> bias_second,
    Out1<std::int32_t> bias_steps, const std::string& bias_optimizer, float bias_learning_rate, float bias_epsilon,
    float bias_beta1, float bias_beta2, Indptr user_indptr, Indices user_rows, Values user_weights, Indptr item_indptr,
    Indices item_rows, Values item_weights, const std::string& loss, const std::string& score, float temperature,
    float positive_temperature, float margin, float negative_weight, Values quantiles, float quantile_temperature,
    const std::string& sampler, std::int64_t negatives, Values keep, Indices alias, Values log_q,
    std::optional<nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>> groups,
    Values group_discounts, float regularization, float bias_regularization, std::int64_t batch_size,
    std::uint64_t seed, std::uint64_t epoch, bool update_users, bool update_items, int threads) {
    const cofactor::Csr x = csr(indptr, indices, &weights);
    const std::int64_t n_users = x.n_rows();
    const auto n = static_cast<std::size_t>(n_items);
    const cofactor::ItemSampler sampler_of_items = item_sampler(n_items, keep, alias);
    const cofactor::Table vectors =
        table(values, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2);
    const cofactor::Table biases = table(bias_values, bias_first, bias_second, bias_steps, bias_optimizer,
                                         bias_learning_rate, bias_epsilon, bias_beta1, bias_beta2);
    const bool biased = bias_values.shape(0) > 0;
    check(vectors.width % cofactor::kPad == 0, "vectors must be padded");
    check(vectors.n_rows >= n_users + n_items, "vectors must have a row for every user and every item");
    check(!biased || (biases.width == 1 && biases.n_rows == vectors.n_rows),
          "biases must have one number for every row of vectors");
    const auto user_parts = vector_parts(user_indptr, user_rows, user_weights, n_users, vectors.n_rows, threads);
    const auto item_parts = vector_parts(item_indptr, item_rows, item_weights, n_items, vectors.n_rows, threads);
    check(score == "cosine" || score == "dot", "score must be cosine or dot");
    check(sampler == "exact" || sampler == "uniform" || sampler == "popularity" || sampler == "in_batch",
          "sampler must be exact, uniform, popularity or in_batch");
    check(sampler == "popularity" ? keep.has_value() : sampler != "in_batch" || !keep.has_value(),
          "the popularity sampler needs an alias table, in_batch has none");
    check(batch_size >= 1 && negatives >= 1, "batch_size and negatives must be at least 1");
    check(batch_size < 1 << 28 && negatives < 1 << 28, "batch_size and negatives must be below 2^28");
    check(groups.has_value() == group_discounts.has_value(), "groups and group_discounts come together");
    const std::size_t n_fields = groups ? groups->shape(1) : 0;
    check(!groups || (groups->shape(0) == n && group_discounts->size() == n_fields),
          "groups must have one row for every item and one discount for every column");
    const cofactor::SharedLoss kind = loss_named(loss);
    check(quantiles.has_value() == (kind == cofactor::SharedLoss::softmax_at_k),
          "softmax@k, and no other loss, has quantiles");
    check(!log_q.has_value() || kind != cofactor::SharedLoss::ccl, "ccl estimates no sum over items and has no log_q");
    const cofactor::SharedNegatives options{
        kind,
        score == "cosine",
        temperature,
        positive_temperature,
        margin,
        negative_weight,
        one_each(quantiles, n_users, "quantiles must have one number for every user"),
        quantile_temperature,
        negatives,
        sampler == "exact",
        sampler == "in_batch",
        sampler_of_items,
        one_each(log_q, n, "log_q must have one number for every item"),
        static_cast<std::int64_t>(n_fields),
        groups ? std::span<const std::int32_t>{groups->data(), groups->size()} : std::span<const std::int32_t>{},
        group_discounts ? view(*group_discounts) : std::span<const float>{},
        regularization,
        bias_regularization,
        batch_size,
        seed,
        epoch,
        update_users,
        update_items};
    double mean = 0.0;
    run(threads, &x, n_items, [&](cofactor::Interrupt& interrupt) {
        mean = cofactor::shared_negatives_epoch(
            x, vectors, biased ? &biases : nullptr, {0, user_parts ? &*user_parts : nullptr},
            {n_users, item_parts ? &*item_parts : nullptr}, options, threads, interrupt);
    });
    return mean;
}

}  // namespace

void bind_shared_negatives(nb::module_& m) {
    m.def("shared_negatives_epoch", &shared_negatives_epoch, "indptr"_a, "indices"_a, "weights"_a, "n_items"_a,
          "values"_a.noconvert(), "first"_a.noconvert(), "second"_a.noconvert(), "steps"_a.noconvert(), "optimizer"_a,
          "learning_rate"_a, "epsilon"_a, "beta1"_a, "beta2"_a, "bias_values"_a.noconvert(), "bias_first"_a.noconvert(),
          "bias_second"_a.noconvert(), "bias_steps"_a.noconvert(), "bias_optimizer"_a, "bias_learning_rate"_a,
          "bias_epsilon"_a, "bias_beta1"_a, "bias_beta2"_a, "user_indptr"_a.none(), "user_rows"_a.none(),
          "user_weights"_a.none(), "item_indptr"_a.none(), "item_rows"_a.none(), "item_weights"_a.none(), "loss"_a,
          "score"_a, "temperature"_a, "positive_temperature"_a, "margin"_a, "negative_weight"_a, "quantiles"_a.none(),
          "quantile_temperature"_a, "sampler"_a, "negatives"_a, "keep"_a.none(), "alias"_a.none(), "log_q"_a.none(),
          "groups"_a.none(), "group_discounts"_a.none(), "regularization"_a, "bias_regularization"_a, "batch_size"_a,
          "seed"_a, "epoch"_a, "update_users"_a, "update_items"_a, "threads"_a);
}
