// Blocks of batches, and the stages in which they go through.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <span>
#include <vector>

#include "core/padded.hpp"
#include "core/parallel.hpp"
#include "fm/batches.hpp"
#include "fm/relation_batches.hpp"
#include "fm/relations.hpp"

namespace cofactor {

struct RelationBlock {
    std::int64_t first, n;           // batches
    std::vector<std::int32_t> rows;  // of its users and items that have features
};

// What a stage does: kSum before the first batch of a block; for each batch kTotal, kPredict and kStep; kScatter and
// kFeatures after the last one.
struct RelationStage {
    enum Kind { kSum, kTotal, kPredict, kStep, kScatter, kFeatures };
    static constexpr std::int64_t kGrain = 32;    // rows or ratings of a piece
    static constexpr std::int64_t kSlice = kPad;  // coordinates of a piece of kScatter, of one of both sides
    Kind kind;
    std::int64_t block, batch, pieces;
};

class RelationBlocks {
public:
    RelationBlocks(const Csr& targets, const FmRelations& relations, std::ptrdiff_t width, int threads)
        : targets_(targets),
          r_(relations),
          width_(width),
          threads_(threads),
          n_users_(targets.n_rows()),
          n_described_(n_users_ + relations.items.n_rows()),
          numbers_(targets.indices.size()) {
        std::iota(numbers_.begin(), numbers_.end(), 0);
        const std::int64_t most = std::max({n_users_, relations.items.n_rows(), relations.n_categories});
        counts_.assign(threads, std::vector<std::int32_t>(most, 0));
        if (relations.n_features() > 0) seen_.assign(threads, std::vector<std::uint8_t>(n_described_, 0));
    }

    bool has_features(std::int64_t row) const {  // of the table
        return row < n_users_ ? r_.n_user_features > 0 : row < n_described_ && r_.n_item_features > 0;
    }

    // The ratings of some users in batches; see ShuffledRatings. Gives how many these are.
    std::int64_t assign(std::span<const std::int32_t> users, std::int64_t batch_size, std::uint64_t seed,
                        std::int64_t stream, Interrupt& interrupt) {
        const Csr numbered{targets_.indptr, numbers_, targets_.values};
        ratings_.assign(numbered, users, batch_size, seed, stream, threads_, interrupt);
        return ratings_.size();
    }

    // Get some of these batches ready: from now on they are numbered from 0, and so are their ratings.
    void ready(std::int64_t first, std::int64_t n, std::int64_t of_block, Interrupt& interrupt) {
        batches_.resize(std::max<std::size_t>(batches_.size(), n));
        parallel_for(n, 1, threads_, interrupt, [&](std::int64_t b, std::int64_t, int worker) {
            batches_[b].assign(ratings_.entries(first + b), targets_, r_, counts_[worker]);
        });
        starts_.clear();
        for (std::int64_t b = 0; b <= n; ++b) starts_.push_back(ratings_.begin(first + b) - ratings_.begin(first));
        const std::int64_t n_blocks = (n + of_block - 1) / of_block;
        blocks_.resize(std::max<std::size_t>(blocks_.size(), n_blocks));
        parallel_for(n_blocks, 1, threads_, interrupt, [&](std::int64_t k, std::int64_t, int worker) {
            blocks_[k].first = k * of_block;
            blocks_[k].n = std::min(of_block, n - k * of_block);
            blocks_[k].rows.clear();
            if (r_.n_features() > 0) name_rows(blocks_[k], seen_[worker]);
        });
        stages_.clear();
        for (std::int64_t k = 0; k < n_blocks && !interrupt.stopped(); ++k) add_stages(k);
    }

    const RelationBatch& batch(std::int64_t b) const { return batches_[b]; }
    const RelationBlock& block(std::int64_t k) const { return blocks_[k]; }
    std::int64_t start(std::int64_t b) const { return starts_[b]; }  // of the ratings of a batch
    std::int64_t n_ratings() const { return starts_.back(); }
    const std::vector<RelationStage>& stages() const { return stages_; }

private:
    // seen: zeros, one for each user and item; left so.
    void name_rows(RelationBlock& block, std::vector<std::uint8_t>& seen) const {
        for (std::int64_t b = block.first; b < block.first + block.n; ++b) {
            for (std::int64_t d = 0; d < batches_[b].n_described(); ++d) {
                const std::int32_t row = batches_[b].row(d);
                if (!has_features(row) || seen[row] != 0) continue;
                seen[row] = 1;
                block.rows.push_back(row);
            }
        }
        for (const std::int32_t row : block.rows) seen[row] = 0;
    }

    void add_stages(std::int64_t k) {
        using enum RelationStage::Kind;
        const RelationBlock& block = blocks_[k];
        const auto add = [&](RelationStage::Kind kind, std::int64_t batch, std::int64_t size) {
            const std::int64_t grain = kind == kScatter ? 1 : RelationStage::kGrain;
            if (size > 0) stages_.push_back({kind, k, batch, (size + grain - 1) / grain});
        };
        add(kSum, 0, std::ssize(block.rows));
        for (std::int64_t b = block.first; b < block.first + block.n; ++b) {
            add(kTotal, b, batches_[b].n_rows());
            add(kPredict, b, batches_[b].size());
            add(kStep, b, batches_[b].n_rows());
        }
        if (r_.n_features() > 0) add(kScatter, 0, 2 * width_ / RelationStage::kSlice);
        add(kFeatures, 0, r_.n_features());
    }

    const Csr& targets_;
    const FmRelations& r_;
    std::ptrdiff_t width_;
    int threads_;
    std::int64_t n_users_, n_described_;  // rows of users; of users and items
    std::vector<std::int32_t> numbers_;   // of all ratings
    ShuffledRatings ratings_;
    std::vector<RelationBatch> batches_;
    std::vector<RelationBlock> blocks_;
    std::vector<RelationStage> stages_;
    std::vector<std::int64_t> starts_;
    std::vector<std::vector<std::int32_t>> counts_;  // for each worker
    std::vector<std::vector<std::uint8_t>> seen_;
};

}  // namespace cofactor
