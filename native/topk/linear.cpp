#include "topk/linear.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "topk/select.hpp"

namespace cofactor {

namespace {

// Bit i is set where the block's score i is not minus zero, which stands for a column that nothing was added to.
std::uint64_t reached(const float* scores) {
    std::uint64_t bits = 0;
    for (int i = 0; i < kBlock; i += kLanes) {
#if defined(__AVX512F__)
        const __m512i v = _mm512_castps_si512(reinterpret_cast<__m512>(load(scores + i)));
        const std::uint64_t some = _mm512_cmpneq_epi32_mask(v, _mm512_set1_epi32(INT32_MIN));
#elif defined(__AVX2__)
        const __m256i v = _mm256_castps_si256(reinterpret_cast<__m256>(load(scores + i)));
        const __m256i none = _mm256_cmpeq_epi32(v, _mm256_set1_epi32(INT32_MIN));
        const std::uint64_t some = ~_mm256_movemask_ps(_mm256_castsi256_ps(none)) & 0xff;
#else
        std::uint64_t some = 0;
        for (int l = 0; l < kLanes; ++l) {
            some |= static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(scores[i + l]) != 0x80000000u) << l;
        }
#endif
        bits |= some << i;
    }
    return bits;
}

// The scores of one history over all columns: minus zero where nothing was added. A byte for each block that was
// reached: only those are looked at and cleared.
class SparseScores {
public:
    explicit SparseScores(std::int64_t n_columns)
        : scores_(n_blocks(n_columns) * kBlock), reached_((n_blocks(n_columns) + 7) / 8 * 8, 0) {
        std::fill_n(scores_.data(), n_blocks(n_columns) * kBlock, -0.0f);
    }

    // add() and pass_on() are functions of their own, since their loops want all registers: inlined into one, they were
    // up to a third slower.
    [[gnu::noinline]] void add(const Csr& weights, std::int64_t row, float by) {
        const std::int64_t begin = weights.indptr[row], length = weights.indptr[row + 1] - begin;
        const std::int32_t* columns = weights.indices.data() + begin;
        const float* values = weights.values.data() + begin;
        float* scores = scores_.data();
        std::uint8_t* reached = reached_.data();
        for (std::int64_t e = 0; e < length; ++e) {
            const std::uint32_t column = columns[e];
            scores[column] = (scores[column] + by * values[e]) + 0.0f;  // minus zero plus zero is plus zero
            reached[column / kBlock] = 1;
        }
    }

    [[gnu::noinline]] void pass_on(RowSelection& selection) {
        for (std::size_t eight = 0; eight < reached_.size(); eight += 8) {
            std::uint64_t any;
            std::memcpy(&any, reached_.data() + eight, 8);
            if (any == 0) continue;
            for (std::size_t block = eight; block < eight + 8; ++block) {
                if (reached_[block] == 0) continue;
                float* scores = scores_.data() + block * kBlock;
                selection.pass(block, scores, selection.threshold() < 0 ? reached(scores) : ~std::uint64_t{0});
                std::fill_n(scores, kBlock, -0.0f);
            }
            std::memset(reached_.data() + eight, 0, 8);
        }
    }

private:
    Buffer scores_;
    std::vector<std::uint8_t> reached_;
};

}  // namespace

bool reaches_columns(const Csr& histories, const Csr& weights, std::int64_t n_columns, int threads,
                     Interrupt& interrupt) {
    std::vector<std::uint8_t> reached(weights.n_rows(), 0);
    for (const std::int32_t row : histories.indices) reached[row] = 1;
    std::atomic<bool> fine{true};
    parallel_for(weights.n_rows(), 1024, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        bool good = true;
        for (std::int64_t row = begin; row < end; ++row) {
            if (reached[row] == 0) continue;
            for (std::int64_t e = weights.indptr[row]; e < weights.indptr[row + 1]; ++e) {
                good = good && weights.indices[e] >= 0 && weights.indices[e] < n_columns;
            }
        }
        if (!good) fine = false;
    });
    return fine;
}

void linear_top_k(const Csr& histories, const Csr& weights, const Choice& choice, Ranking ranking, int threads,
                  Interrupt& interrupt) {
    const std::int64_t n = histories.n_rows();
    const std::int64_t grain = std::clamp<std::int64_t>(n / (16 * threads), 1, 64);
    const int workers = static_cast<int>(std::clamp<std::int64_t>((n + grain - 1) / grain, 1, threads));
    ranking.clear(n);
    std::vector<SparseScores> scores;
    scores.reserve(workers);
    for (int worker = 0; worker < workers; ++worker) scores.emplace_back(choice.n_columns());
    parallel_for(n, grain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        for (std::int64_t row = begin; row < end; ++row) {
            for (std::int64_t e = histories.indptr[row]; e < histories.indptr[row + 1]; ++e) {
                if (e + 1 < histories.indptr[row + 1]) {
                    const std::int64_t next = weights.indptr[histories.indices[e + 1]];
                    __builtin_prefetch(weights.indices.data() + next);
                    __builtin_prefetch(weights.values.data() + next);
                }
                scores[worker].add(weights, histories.indices[e], histories.values[e]);
            }
            RowSelection selection(choice, ranking, row, 0);
            scores[worker].pass_on(selection);
            ranking.best(row).sort();
        }
    });
}

namespace {

// A piece of a matrix: rows of kBlock columns that are `stride` floats apart.
struct Panel64 {
    const float* first;
    std::ptrdiff_t stride;
};

// scores (kBlock) = the sum of the entries' rows of the panel.
void sum_rows(std::span<const std::int32_t> rows, const float* by, const Panel64& panel, float* scores) {
    constexpr int kVectors = 4;
    constexpr std::size_t kAhead = 6;
    for (int column = 0; column < kBlock; column += kVectors * kLanes) {
        Vec acc[kVectors] = {};
        for (std::size_t e = 0; e < rows.size(); ++e) {
            if (column == 0 && e + kAhead < rows.size())
                prefetch(panel.first + rows[e + kAhead] * panel.stride, kBlock);
            const Vec x = broadcast(by[e]);
            const float* row = panel.first + rows[e] * panel.stride + column;
            for (int v = 0; v < kVectors; ++v) acc[v] += x * load(row + v * kLanes);
        }
        for (int v = 0; v < kVectors; ++v) store(scores + column + v * kLanes, acc[v]);
    }
}

}  // namespace

void linear_top_k(const Csr& histories, const float* weights, std::int64_t m, const Choice& choice, Ranking ranking,
                  int threads, Interrupt& interrupt) {
    constexpr std::int64_t kPanelBytes = 8 << 20, kBlockBytes = kBlock * sizeof(float);
    const std::int64_t n = histories.n_rows(), n_columns = choice.n_columns(), blocks = n_blocks(n_columns);
    const std::int64_t together = std::clamp<std::int64_t>(kPanelBytes / (std::max<std::int64_t>(m, 1) * kBlockBytes),
                                                           1, std::max<std::int64_t>(blocks, 1));
    const bool few = static_cast<std::int64_t>(histories.indices.size()) < 2 * m;
    const std::int64_t grain = std::clamp<std::int64_t>(n / (8 * threads), 1, 256);
    Buffer copy((few ? 1 : together) * m * kBlock);
    ranking.clear(n);
    for (std::int64_t first = 0; first < blocks && !interrupt.stopped(); first += together) {
        const std::int64_t last = std::min(blocks, first + together);
        // The last block may be short: it is copied in any case.
        const auto copied = [&](std::int64_t block) { return !few || (block + 1) * kBlock > n_columns; };
        const auto at = [&](std::int64_t block) { return copy.data() + (few ? 0 : block - first) * m * kBlock; };
        parallel_for(m, 512, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t block = first; block < last; ++block) {
                if (!copied(block)) continue;
                const std::int64_t columns = std::min(kBlock, n_columns - block * kBlock);
                for (std::int64_t row = begin; row < end; ++row) {
                    std::memcpy(at(block) + row * kBlock, weights + row * n_columns + block * kBlock,
                                columns * sizeof(float));
                }
            }
        });
        parallel_for(n, grain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t block = first; block < last; ++block) {
                if (choice.allowed(block) == 0) continue;
                const Panel64 panel =
                    copied(block) ? Panel64{at(block), kBlock} : Panel64{weights + block * kBlock, n_columns};
                for (std::int64_t row = begin; row < end; ++row) {
                    const std::int64_t from = histories.indptr[row], length = histories.indptr[row + 1] - from;
                    if (length == 0) continue;
                    alignas(64) float scores[kBlock];
                    sum_rows(histories.indices.subspan(from, length), histories.values.data() + from, panel, scores);
                    RowSelection(choice, ranking, row, block).pass(block, scores);
                }
            }
        });
    }
    parallel_for(n, 256, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) ranking.best(row).sort();
    });
}

void select_top_k(const float* scores, std::int64_t n, const Choice& choice, Ranking ranking, int threads,
                  Interrupt& interrupt) {
    ranking.clear(n);
    const std::int64_t n_columns = choice.n_columns(), whole = n_columns / kBlock;
    parallel_for(n, 16, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
            RowSelection selection(choice, ranking, row, 0);
            const float* of_row = scores + row * n_columns;
            for (std::int64_t block = 0; block < whole; ++block) selection.pass(block, of_row + block * kBlock);
            if (whole < n_blocks(n_columns)) {
                float last[kBlock] = {};
                std::memcpy(last, of_row + whole * kBlock, (n_columns - whole * kBlock) * sizeof(float));
                selection.pass(whole, last);
            }
            ranking.best(row).sort();
        }
    });
}

}  // namespace cofactor
