// Pairs of items against negatives, for Python.
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <tuple>

#include "core/random.hpp"
#include "sampling/bind_negatives.hpp"
#include "sgd/bind_table.hpp"
#include "sgd/item_pairs.hpp"

namespace {

using Column = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

bool within(const Column& rows, std::int64_t n) {
    return std::all_of(rows.data(), rows.data() + rows.size(), [=](std::int32_t row) { return row >= 0 && row < n; });
}

std::tuple<double, double, std::int64_t, std::int64_t> item_pairs_epoch(
    Column items, Column next_items, Values weights, std::int64_t n_items, OutMatrix<float> values,
    OutMatrix<float> first, OutMatrix<float> second, Out1<std::int32_t> steps, const std::string& optimizer,
    float learning_rate, float epsilon, float beta1, float beta2, bool shared, const std::string& loss, bool in_batch,
    Values keep, Indices alias, std::int64_t negatives, Values log_q, float regularization, std::uint64_t seed,
    std::uint64_t epoch, std::int64_t batch_size, bool learn, int threads) {
    check(loss == "logistic" || loss == "softmax", "loss must be logistic or softmax");
    const cofactor::Table vectors =
        table(values, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2);
    check(vectors.width % cofactor::kPad == 0, "vectors must be padded");
    check(n_items >= 1 && n_items < 1ll << 30 && vectors.n_rows == (shared ? n_items : 2 * n_items),
          "vectors must have a row for every item, or two where they are not shared");
    check(items.size() == next_items.size() && (!weights || weights->size() == items.size()),
          "items, next items and weights must be of one length");
    check(!log_q || static_cast<std::int64_t>(log_q->size()) == n_items, "log_q must have one number for every item");
    check(negatives >= 1 && batch_size >= 2 && batch_size <= 1 << 13 && negatives < batch_size + !in_batch,
          "batch_size must be 2 to 8192 and hold the negatives");
    const cofactor::ItemPairs pairs{
        view(items),
        view(next_items),
        weights ? view(*weights) : std::span<const float>{},
        n_items,
        shared,
        loss == "logistic" ? cofactor::ItemPairLoss::logistic : cofactor::ItemPairLoss::softmax,
        in_batch,
        item_sampler(n_items, keep, alias),
        negatives,
        log_q ? view(*log_q) : std::span<const float>{},
        regularization,
        cofactor::Random(seed, epoch).next(),
        batch_size,
        learn};
    cofactor::ItemPairsEpoch done{};
    bool in_range = true;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        in_range = within(items, n_items) && within(next_items, n_items);
        if (in_range) done = cofactor::item_pairs_epoch(pairs, vectors, threads, interrupt);
    });
    check(in_range, "items and next items must be below n_items");
    return {done.loss, done.weight, done.above, done.compared};
}

}  // namespace

void bind_item_pairs(nb::module_& m) {
    m.def("item_pairs_epoch", &item_pairs_epoch, "items"_a, "next_items"_a, "weights"_a.none(), "n_items"_a,
          "values"_a.noconvert(), "first"_a.noconvert(), "second"_a.noconvert(), "steps"_a.noconvert(), "optimizer"_a,
          "learning_rate"_a, "epsilon"_a, "beta1"_a, "beta2"_a, "shared"_a, "loss"_a, "in_batch"_a, "keep"_a.none(),
          "alias"_a.none(), "negatives"_a, "log_q"_a.none(), "regularization"_a, "seed"_a, "epoch"_a, "batch_size"_a,
          "learn"_a, "threads"_a);
}
