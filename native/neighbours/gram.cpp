// The most similar rows of a sparse matrix with itself: every pair of rows is multiplied once.
//
// Rows are ranked by length, the longest first, and each is multiplied with those before it, which stand at the
// beginning of the columns' lists: the lists are read forward, most sums land in the few hot ones at the beginning of
// the row of sums, that stay in the first cache, and no row is much more work than its neighbours. A batch of rows is
// multiplied, each row choosing among those before it; then the columns, shared out to threads, are offered those rows.
// One addition per pair of entries in a column, n^2 / 2 similarities (of pairs in blocks with an entry) twice.
#include <tuple>

#include "neighbours/dots.hpp"
#include "neighbours/neighbours.hpp"

namespace cofactor {

namespace {

// The columns of a (n x m) as lists of ranks, ascending.
template <class Index>
struct RankedColumns {
    std::vector<std::int32_t> row;     // of each rank
    std::vector<std::int64_t> begin;   // m + 1
    std::vector<Index> ranks;          // nnz
    std::vector<float> values;         // nnz, or empty
    std::vector<std::int32_t> before;  // by entry of a: how many entries of its column have a lower rank

    RankedColumns(const Csr& a, std::int64_t m, int threads, Interrupt& interrupt)
        : row(a.n_rows()), begin(m + 1, 0), ranks(a.indices.size()), values(a.values.size()), before(a.indices.size()) {
        const auto length = [&](std::int32_t r) { return a.indptr[r + 1] - a.indptr[r]; };
        std::iota(row.begin(), row.end(), 0);
        std::stable_sort(row.begin(), row.end(), [&](auto r, auto s) { return length(r) > length(s); });
        for (const std::int32_t column : a.indices) ++begin[column + 1];
        std::partial_sum(begin.begin(), begin.end(), begin.begin());
        std::vector<std::int32_t> filled(m, 0);
        // Columns are filled a part at a time, so that what is written stays in cache.
        constexpr std::int64_t kPart = 1 << 18;
        const std::int64_t parts = std::clamp<std::int64_t>(a.indices.size() / kPart, 1, 256);
        parallel_for(parts, 1, threads, interrupt, [&](std::int64_t part, std::int64_t, int) {
            const auto at = [&](std::int64_t p) {
                const std::int64_t share = static_cast<std::int64_t>(a.indices.size()) * p / parts;
                return p == parts ? m : std::lower_bound(begin.begin(), begin.end() - 1, share) - begin.begin();
            };
            if (const std::int64_t first = part == 0 ? 0 : at(part), last = at(part + 1); first < last) {
                fill(a, first, last, filled);
            }
        });
    }

private:
    void fill(const Csr& a, std::int64_t first, std::int64_t last, std::vector<std::int32_t>& filled) {
        for (std::size_t rank = 0; rank < row.size(); ++rank) {
            const auto columns = a.indices.begin();
            std::int64_t e = a.indptr[row[rank]];
            const std::int64_t end = a.indptr[row[rank] + 1];
            e = std::lower_bound(columns + e, columns + end, first) - columns;
            for (; e < end && a.indices[e] < last; ++e) {
                const std::int32_t column = a.indices[e];
                before[e] = filled[column]++;
                ranks[begin[column] + before[e]] = static_cast<Index>(rank);
                if (!values.empty()) values[begin[column] + before[e]] = a.values[e];
            }
        }
    }
};

template <class Index>
class GramNeighbours {
public:
    GramNeighbours(const Csr& a, std::span<const float> weights, const Similarity& similarity, Ranking& ranking,
                   int threads, Interrupt& interrupt)
        : a_(a),
          weights_(weights),
          columns_(a, weights.size(), threads, interrupt),
          ranking_(ranking),
          overlap_(similarity.overlap),
          shrink_(similarity.shrink),
          row_scale_(padded_copy(similarity.row_scale, columns_.row, 0)),
          column_scale_(padded_copy(similarity.column_scale, columns_.row, 0)),
          row_add_(padded_copy(similarity.row_add, columns_.row, 0)),
          column_add_(padded_copy(similarity.column_add, columns_.row, 0)),
          threshold_(n_blocks(a.n_rows()) * kBlock) {
        std::fill_n(threshold_.data(), n_blocks(a.n_rows()) * kBlock, kLeast);
    }

    // Products of the rank's row with those of lower ranks, of which it chooses.
    void multiply(std::int64_t rank, Dots& dots) {
        const std::int64_t row = columns_.row[rank], begin = a_.indptr[row], end = a_.indptr[row + 1];
        dots.clear();
        dots.open(rank, std::accumulate(columns_.before.data() + begin, columns_.before.data() + end, std::int64_t{0}));
        for (std::int64_t e = begin; e < end; ++e) {
            if (e + kAhead < end) prefetch_column(e + kAhead);
            const std::int64_t column = a_.indices[e], at = columns_.begin[column];
            const bool plain = a_.values.empty();
            dots.add(columns_.ranks.data() + at, plain ? nullptr : columns_.values.data() + at, columns_.before[e],
                     plain ? weights_[column] : weights_[column] * a_.values[e]);
        }
        BestK best = ranking_.best(row);
        const Side side{column_scale_.data(),  column_add_.data(), row_scale_.data()[rank],
                        row_add_.data()[rank], overlap_,           shrink_};
        Vec least = broadcast(kLeast);
        dots.each(
            0, rank, side, [&](std::int64_t) { return least; },
            [&](std::int64_t other, float value) {
                if (!best.accepts(value, columns_.row[other])) return;
                best.push(value, columns_.row[other]);
                least = broadcast(threshold_above_zero(best));
            });
        threshold_.data()[rank] = threshold_above_zero(best);
    }

    // Offers the rank's row to those of the ranks [begin, end) that are lower.
    void offer(std::int64_t rank, const Dots& dots, std::int64_t begin, std::int64_t end) {
        const Side side{row_scale_.data(),        row_add_.data(), column_scale_.data()[rank],
                        column_add_.data()[rank], overlap_,        shrink_};
        const std::int32_t row = columns_.row[rank];
        float* thresholds = threshold_.data();
        dots.each(
            begin, std::min(end, rank), side, [&](std::int64_t at) { return load(thresholds + at); },
            [&](std::int64_t other, float value) {
                BestK best = ranking_.best(columns_.row[other]);
                if (!best.accepts(value, row)) return;
                best.push(value, row);
                thresholds[other] = threshold_above_zero(best);
            });
    }

private:
    static constexpr std::int64_t kAhead = 4;

    [[gnu::always_inline]] void prefetch_column(std::int64_t e) const {
        const std::int64_t at = columns_.begin[a_.indices[e]];
        const char* first = reinterpret_cast<const char*>(columns_.ranks.data() + at);
        const std::int64_t bytes = std::min<std::int64_t>(columns_.before[e] * sizeof(Index), 512);
        for (std::int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(first + b);
    }

    const Csr& a_;
    std::span<const float> weights_;
    RankedColumns<Index> columns_;
    Ranking& ranking_;
    float overlap_, shrink_;
    Buffer row_scale_, column_scale_, row_add_, column_add_;  // by rank
    Buffer threshold_;                                        // by rank: what another row must reach
};

// a: n x m, columns ascending; weights: m, of the columns; similarity: between rows. For every row the k most similar
// others.
template <class Index>
void gram_neighbours_of(const Csr& a, std::span<const float> weights, const Similarity& similarity, Ranking& ranking,
                        int threads, Interrupt& interrupt) {
    constexpr std::int64_t kBytes = 64 << 20, kMost = 64, kColumns = 4 * kBlock;
    const std::int64_t n = a.n_rows();
    const std::int64_t fitting = kBytes / (4 * std::max<std::int64_t>(n, 1));
    const std::int64_t batch =
        std::clamp<std::int64_t>(fitting, 2 * threads, std::max<std::int64_t>(kMost, 4 * threads));
    GramNeighbours<Index> work(a, weights, similarity, ranking, threads, interrupt);
    DotRows rows(batch, n);
    for (std::int64_t first = 0; first < n && !interrupt.stopped(); first += batch) {
        const std::int64_t last = std::min(n, first + batch);
        parallel_for(last - first, 1, threads, interrupt,
                     [&](std::int64_t at, std::int64_t, int) { work.multiply(first + at, rows[at]); });
        parallel_for(last, kColumns, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t rank = first; rank < last; ++rank) work.offer(rank, rows[rank - first], begin, end);
        });
    }
    sort_by_column(ranking, n, threads, interrupt);
}

}  // namespace

void gram_neighbours(const Csr& a, std::span<const float> weights, const Similarity& similarity, Ranking ranking,
                     int threads, Interrupt& interrupt) {
    ranking.clear(a.n_rows());
    const auto solve = a.n_rows() <= 65536 ? gram_neighbours_of<std::uint16_t> : gram_neighbours_of<std::uint32_t>;
    solve(a, weights, similarity, ranking, threads, interrupt);
}

}  // namespace cofactor
