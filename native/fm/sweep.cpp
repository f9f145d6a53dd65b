#include <algorithm>
#include <cmath>
#include <vector>

#include "fm/feature_step.hpp"
#include "fm/fm.hpp"
#include "fm/row_step.hpp"

namespace cofactor {

namespace {

// The totals of a row, from its parameters.
void add_up(const FmSide& own, std::int64_t u, const FmOptions& options) {
    const std::int64_t width = options.width, n = options.n_coordinates;
    float* totals = own.totals + u * width;
    const float* id = own.ids + u * width;
    std::copy_n(id, width, totals);
    const std::int64_t begin = own.features.indptr[u], end = own.features.indptr[u + 1];
    if (begin == end) return;
    double squares = 0.0;  // of the parts
    for (std::int64_t c = 1; c < n; ++c) squares += static_cast<double>(id[c]) * id[c];
    for (std::int64_t at = begin; at < end; ++at) {
        const float* part = own.parts + own.features.indices[at] * width;
        const float x = own.features.values[at];
        float square = 0.0f;
        axpy(x, part, totals, width);
        square = dot(part, part, width) - part[0] * part[0];
        squares += static_cast<double>(x) * x * square;
    }
    double square = 0.0;
    for (std::int64_t c = 1; c < n; ++c) square += static_cast<double>(totals[c]) * totals[c];
    totals[0] += static_cast<float>(0.5 * (square - squares));
}

void write_sums(const float* e, std::span<const std::int32_t> items, std::span<const float> weights, double* out) {
    double sum = 0.0, square = 0.0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const double w = weights.empty() ? 1.0 : weights[items[i]];
        sum += w * e[i];
        square += w * e[i] * e[i];
    }
    out[0] = sum, out[1] = square;
}

}  // namespace

void fm_sweep(const Csr& targets, const FmSide& own, std::span<const float> other_totals,
              std::span<const float> other_weights, const FmPrior& prior, const FmOptions& options,
              std::span<float> residuals, std::span<double> row_sums, int threads, Interrupt& interrupt) {
    std::int64_t longest = 1;
    for (std::int64_t u = 0; u < own.n; ++u) longest = std::max(longest, targets.length(u));
    const std::int64_t size = padded(FmRowStep::work_size(options, longest));
    std::vector<Buffer> work(static_cast<std::size_t>(threads));
    for (Buffer& one : work) one = Buffer(static_cast<std::size_t>(size));
    const bool shared = own.columns.n_rows() > 0;
    parallel_for(own.n, 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        FmRowStep step(options, other_totals, other_weights, prior, work[worker].data(), longest);
        for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t at = targets.indptr[u], n = targets.length(u);
            add_up(own, u, options);
            const std::span<const std::int32_t> items = targets.indices.subspan(at, n);
            step(u, items, targets.values.data() + at, own.weights.empty() ? 1.0f : own.weights[u],
                 own.ids + u * options.width, own.totals + u * options.width);
            std::copy_n(step.residuals(), n, residuals.data() + at);
            write_sums(step.residuals(), items, other_weights, row_sums.data() + 2 * u);
        }
    });
    if (!shared || interrupt.stopped()) return;
    work.clear();
    FmFeatureStep(targets, own, other_totals, other_weights, prior, options, residuals)(threads, interrupt);
    parallel_for(own.n, 64, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t at = targets.indptr[u];
            write_sums(residuals.data() + at, targets.indices.subspan(at, targets.length(u)), other_weights,
                       row_sums.data() + 2 * u);
        }
    });
}

}  // namespace cofactor
