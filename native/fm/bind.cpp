// Factorization machines for Python.
#include "bindings.hpp"
#include "core/padded.hpp"
#include "fm/fm.hpp"
#include "fm/relations.hpp"
#include "sgd/bind_table.hpp"

namespace {

void fm_sweep(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values, OutMatrix<float> totals,
              OutMatrix<float> ids, OutMatrix<float> parts, In1<std::int64_t> feature_indptr,
              In1<std::int32_t> feature_indices, In1<float> feature_values, In1<std::int64_t> column_indptr,
              In1<std::int32_t> column_indices, In1<float> column_values, In1<std::int32_t> groups, In1<float> weights,
              InMatrix other, In1<float> other_weights, InMatrix means, InMatrix precisions, float offset,
              float noise_precision, std::uint64_t seed, bool sampled, int passes, Out1<float> residuals,
              OutMatrix<double> row_sums, int threads) {
    const cofactor::Csr targets = csr(indptr, indices, &values);
    const cofactor::Csr features = csr(feature_indptr, feature_indices, &feature_values);
    const cofactor::Csr columns = csr(column_indptr, column_indices, &column_values);
    const std::size_t width = totals.shape(1), n = totals.shape(0);
    check(static_cast<std::int64_t>(n) == targets.n_rows(), "totals must have a row for every row of targets");
    check(ids.shape(0) == n && features.n_rows() == static_cast<std::int64_t>(n), "ids and features must have n rows");
    check(ids.shape(1) == width && parts.shape(1) == width && other.shape(1) == width, "widths must agree");
    check(width % cofactor::kPad == 0 && width > 0, "the width must be a multiple of 16");
    check(groups.size() == parts.shape(0), "groups must hold a number for every feature");
    if (columns.n_rows() > 0) {  // else features stay
        check(columns.n_rows() == static_cast<std::int64_t>(parts.shape(0)), "columns need a row for every feature");
        check(column_indices.size() == feature_indices.size(), "features and columns must hold the same entries");
    }
    check(means.shape(0) == precisions.shape(0) && means.shape(1) == precisions.shape(1),
          "means and precisions differ");
    check(means.shape(0) >= 1 && means.shape(1) >= 1 && means.shape(1) <= width, "means must be groups x coordinates");
    for (const std::int32_t group : view(groups)) {
        check(group >= 0 && group < static_cast<std::int64_t>(means.shape(0)), "a group has no prior");
    }
    for (const std::int32_t feature : view(feature_indices)) {
        check(feature >= 0 && feature < static_cast<std::int64_t>(parts.shape(0)), "a feature is out of range");
    }
    for (const std::int32_t row : view(column_indices)) {
        check(row >= 0 && row < static_cast<std::int64_t>(n), "a row of columns is out of range");
    }
    check(residuals.size() == indices.size(), "residuals must hold a number for every target");
    check(row_sums.shape(0) == n && row_sums.shape(1) == 2, "row_sums must be n x 2");
    check(weights.size() == 0 || weights.size() == n, "weights must hold a number for every row, or none");
    check(other_weights.size() == 0 || other_weights.size() == other.shape(0),
          "other_weights must be as other, or none");
    for (const float weight : view(other_weights)) check(weight > 0.0f, "weights must be above 0");
    check(passes >= 1, "passes must be at least 1");
    const cofactor::FmSide own{totals.data(), ids.data(),   parts.data(),  features,
                               columns,       view(groups), view(weights), static_cast<std::int64_t>(n)};
    const cofactor::FmPrior prior{{means.data(), means.size()}, {precisions.data(), precisions.size()}};
    const cofactor::FmOptions options{static_cast<std::int64_t>(means.shape(1)),
                                      static_cast<std::int64_t>(width),
                                      offset,
                                      noise_precision,
                                      seed,
                                      sampled,
                                      passes};
    run(threads, &targets, other.shape(0), [&](cofactor::Interrupt& interrupt) {
        cofactor::fm_sweep(targets, own, {other.data(), other.size()}, view(other_weights), prior, options,
                           {residuals.data(), residuals.size()}, {row_sums.data(), row_sums.size()}, threads,
                           interrupt);
    });
}

// What an epoch descends on, or an error.
cofactor::FmEpoch epoch_options(const In1<float>& values, bool logistic, float span, float offset, float weight_decay,
                                std::int64_t batch_size, std::uint64_t seed) {
    check(batch_size >= 1, "batch_size must be at least 1");
    check(span >= 0.0f && !(logistic && span > 0.0f), "span must be at least 0, and 0 with logistic");
    if (logistic) {
        for (const float target : view(values)) check(target == 0.0f || target == 1.0f, "targets must be 0 or 1");
    }
    for (const float target : span > 0.0f ? view(values) : std::span<const float>()) {
        check(target >= 0.0f && target <= span, "targets must be in [0, span]");
    }
    return {logistic, span, offset, weight_decay, batch_size, seed};
}

// Its rows, of a weight and a vector each.
cofactor::Table padded_table(const OutMatrix<float>& rows, const OutMatrix<float>& first,
                             const OutMatrix<float>& second, const Out1<std::int32_t>& steps,
                             const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
                             std::int64_t n_coordinates) {
    check(n_coordinates >= 1 && n_coordinates <= static_cast<std::int64_t>(rows.shape(1)),
          "n_coordinates must be in [1, width]");
    check(rows.shape(1) % cofactor::kPad == 0, "rows must be padded");
    return table(rows, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2, n_coordinates);
}

double fm_epoch(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values, std::int64_t n_items,
                OutMatrix<float> rows, OutMatrix<float> first, OutMatrix<float> second, Out1<std::int32_t> steps,
                const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
                std::int64_t n_coordinates, bool logistic, float span, float offset, float weight_decay,
                std::int64_t batch_size, std::uint64_t seed, int threads) {
    const cofactor::Csr targets = csr(indptr, indices, &values);
    const cofactor::Table table_of =
        padded_table(rows, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2, n_coordinates);
    check(table_of.n_rows == targets.n_rows() + n_items, "the table must have a row for every user and every item");
    const cofactor::FmEpoch options = epoch_options(values, logistic, span, offset, weight_decay, batch_size, seed);
    double loss = 0.0;
    run(threads, &targets, n_items, [&](cofactor::Interrupt& interrupt) {
        loss = cofactor::fm_epoch(targets, table_of, options, threads, interrupt);
    });
    return loss;
}

// Features of the rows of one side.
cofactor::Csr features_of(const In1<std::int64_t>& indptr, const In1<std::int32_t>& indices, const In1<float>& values,
                          std::int64_t n, std::int64_t n_features, int threads) {
    const cofactor::Csr found = csr(indptr, indices, &values);
    check(found.n_rows() == n, "features must have a row for every user, and for every item");
    check(n_features >= 0, "there must be no fewer than 0 features");
    run(threads, &found, n_features, [](cofactor::Interrupt&) {});
    return found;
}

double fm_relations_epoch(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values, std::int64_t n_items,
                          In1<std::int64_t> user_indptr, In1<std::int32_t> user_indices, In1<float> user_values,
                          std::int64_t n_user_features, In1<std::int64_t> item_indptr, In1<std::int32_t> item_indices,
                          In1<float> item_values, std::int64_t n_item_features,
                          nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu> categories,
                          std::int64_t n_categories, In1<float> rates, std::int64_t batches, OutMatrix<float> rows,
                          OutMatrix<float> first, OutMatrix<float> second, Out1<std::int32_t> steps,
                          const std::string& optimizer, float learning_rate, float epsilon, float beta1, float beta2,
                          std::int64_t n_coordinates, bool logistic, float span, float offset, float weight_decay,
                          std::int64_t batch_size, std::uint64_t seed, int threads) {
    const cofactor::Csr targets = csr(indptr, indices, &values);
    check(indices.size() <= 0x7fffffff, "there are more than 2^31 - 1 targets");
    check(categories.shape(1) == indices.size(), "categories must have a column for every target");
    for (std::size_t k = 0; k < categories.size(); ++k) {
        check(categories.data()[k] >= 0 && categories.data()[k] < n_categories, "a category is out of range");
    }
    check(batches >= 1, "batches must be at least 1");
    const cofactor::FmRelations relations{
        features_of(user_indptr, user_indices, user_values, targets.n_rows(), n_user_features, threads),
        features_of(item_indptr, item_indices, item_values, n_items, n_item_features, threads),
        n_user_features,
        n_item_features,
        {categories.data(), categories.size()},
        static_cast<std::int64_t>(categories.shape(0)),
        n_categories,
        view(rates),
        batches};
    check(static_cast<std::int64_t>(rates.size()) == n_categories + relations.n_features(),
          "rates must hold a number for every category and every feature");
    const cofactor::Table table_of =
        padded_table(rows, first, second, steps, optimizer, learning_rate, epsilon, beta1, beta2, n_coordinates);
    check(table_of.n_rows == targets.n_rows() + n_items + n_categories + relations.n_features(),
          "the table must have a row for every user, item, category and feature");
    check(table_of.n_rows <= 0x7fffffff, "the table has more than 2^31 - 1 rows");
    check(batch_size <= 0x7fffffff / (2 + relations.n_columns),
          "a batch has more than 2^31 - 1 users, items and categories");
    const cofactor::FmEpoch options = epoch_options(values, logistic, span, offset, weight_decay, batch_size, seed);
    double loss = 0.0;
    run(threads, &targets, n_items, [&](cofactor::Interrupt& interrupt) {
        loss = cofactor::fm_relations_epoch(targets, relations, table_of, options, threads, interrupt);
    });
    return loss;
}

void fm_ratings(In1<std::int32_t> users, In1<std::int32_t> items, InMatrix user_samples, InMatrix item_samples,
                In1<float> unknown_user, In1<float> unknown_item, In1<double> offsets, In1<double> cutpoints,
                In1<double> levels, Out1<float> means, Out1<float> variances, int threads) {
    const std::size_t n_samples = offsets.size(), size = unknown_user.size();
    check(n_samples >= 1 && size % n_samples == 0 && size > 0, "a row must hold as many numbers in every sample");
    check(user_samples.shape(1) == size && item_samples.shape(1) == size && unknown_item.size() == size,
          "rows of users and items differ in length");
    check(cutpoints.size() == 0 || cutpoints.size() == n_samples * (levels.size() - 1),
          "cutpoints must be samples x (levels - 1)");
    check(users.size() == items.size() && means.size() == users.size() && variances.size() == users.size(),
          "users, items, means and variances differ in length");
    for (std::size_t p = 0; p < users.size(); ++p) {
        check(users.data()[p] >= -1 && users.data()[p] < static_cast<std::int64_t>(user_samples.shape(0)) &&
                  items.data()[p] >= -1 && items.data()[p] < static_cast<std::int64_t>(item_samples.shape(0)),
              "a user or an item is out of range");
    }
    const cofactor::FmSamples samples{{user_samples.data(), user_samples.size()},
                                      {item_samples.data(), item_samples.size()},
                                      view(unknown_user),
                                      view(unknown_item),
                                      view(offsets),
                                      view(cutpoints),
                                      view(levels),
                                      static_cast<std::int64_t>(size / n_samples)};
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::fm_ratings(view(users), view(items), samples, {means.data(), means.size()},
                             {variances.data(), variances.size()}, threads, interrupt);
    });
}

}  // namespace

void bind_fm(nb::module_& m) {
    m.def("fm_sweep", &fm_sweep, "indptr"_a, "indices"_a, "values"_a, "totals"_a.noconvert(), "ids"_a.noconvert(),
          "parts"_a.noconvert(), "feature_indptr"_a, "feature_indices"_a, "feature_values"_a, "column_indptr"_a,
          "column_indices"_a, "column_values"_a, "groups"_a, "weights"_a, "other"_a, "other_weights"_a, "means"_a,
          "precisions"_a, "offset"_a, "noise_precision"_a, "seed"_a, "sampled"_a, "passes"_a, "residuals"_a.noconvert(),
          "row_sums"_a.noconvert(), "threads"_a);
    m.def("fm_epoch", &fm_epoch, "indptr"_a, "indices"_a, "values"_a, "n_items"_a, "rows"_a.noconvert(),
          "first"_a.noconvert(), "second"_a.noconvert(), "steps"_a.noconvert(), "optimizer"_a, "learning_rate"_a,
          "epsilon"_a, "beta1"_a, "beta2"_a, "n_coordinates"_a, "logistic"_a, "span"_a, "offset"_a, "weight_decay"_a,
          "batch_size"_a, "seed"_a, "threads"_a);
    m.def("fm_relations_epoch", &fm_relations_epoch, "indptr"_a, "indices"_a, "values"_a, "n_items"_a, "user_indptr"_a,
          "user_indices"_a, "user_values"_a, "n_user_features"_a, "item_indptr"_a, "item_indices"_a, "item_values"_a,
          "n_item_features"_a, "categories"_a, "n_categories"_a, "rates"_a, "batches"_a, "rows"_a.noconvert(),
          "first"_a.noconvert(), "second"_a.noconvert(), "steps"_a.noconvert(), "optimizer"_a, "learning_rate"_a,
          "epsilon"_a, "beta1"_a, "beta2"_a, "n_coordinates"_a, "logistic"_a, "span"_a, "offset"_a, "weight_decay"_a,
          "batch_size"_a, "seed"_a, "threads"_a);
    m.def("fm_ratings", &fm_ratings, "users"_a, "items"_a, "user_samples"_a, "item_samples"_a, "unknown_user"_a,
          "unknown_item"_a, "offsets"_a, "cutpoints"_a, "levels"_a, "means"_a.noconvert(), "variances"_a.noconvert(),
          "threads"_a);
}
