// The most similar columns of a sparse product, row by row.
#include <algorithm>
#include <cstdint>
#include <span>

#include "neighbours/dots.hpp"
#include "neighbours/neighbours.hpp"

namespace cofactor {

void product_neighbours(const Csr& a, const Csr& b, std::int64_t n_columns, const Similarity& similarity,
                        std::span<const std::int32_t> row_groups, std::span<const std::int32_t> column_groups,
                        Ranking ranking, int threads, Interrupt& interrupt) {
    const std::int64_t n = a.n_rows();
    const int workers = static_cast<int>(std::clamp<std::int64_t>(n, 1, threads));
    const Buffer scale = padded_copy(similarity.column_scale, {}, 0), add = padded_copy(similarity.column_add, {}, 0);
    DotRows rows(workers, n_columns);
    ranking.clear(n);
    parallel_for(n, 1, workers, interrupt, [&](std::int64_t row, std::int64_t, int worker) {
        Dots& dots = rows[worker];
        std::int64_t touches = 0;
        for (std::int64_t e = a.indptr[row]; e < a.indptr[row + 1]; ++e) {
            touches += b.indptr[a.indices[e] + 1] - b.indptr[a.indices[e]];
        }
        dots.open(n_columns, touches);
        for (std::int64_t e = a.indptr[row]; e < a.indptr[row + 1]; ++e) {
            const std::int64_t begin = b.indptr[a.indices[e]], length = b.indptr[a.indices[e] + 1] - begin;
            dots.add(b.indices.data() + begin, b.values.data() + begin, length, a.values[e]);
        }
        BestK best = ranking.best(row);
        const Side side{scale.data(),       add.data(),       similarity.row_scale[row], similarity.row_add[row],
                        similarity.overlap, similarity.shrink};
        dots.each(
            0, n_columns, side, [&](std::int64_t) { return broadcast(threshold_above_zero(best)); },
            [&](std::int64_t column, float value) {
                if (!row_groups.empty() && row_groups[row] == column_groups[column]) return;
                const auto item = static_cast<std::int32_t>(column);
                if (best.accepts(value, item)) best.push(value, item);
            });
        dots.clear();
    });
    sort_by_column(ranking, n, threads, interrupt);
}

}  // namespace cofactor
