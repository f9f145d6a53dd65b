// Ratings by batches: which batch each one is in, and which rows a batch touches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "core/csr.hpp"
#include "core/random.hpp"

namespace cofactor {

struct BatchEntry {
    std::int32_t user, item;
    float target;
    std::int32_t repeated;  // number of the item among those with several ratings in the batch, or -1
};

// A batch: its ratings by user, and the items that have several of them.
class Batch {
public:
    // counts: zeros, one for each item; left so. O(ratings).
    void assign(std::span<BatchEntry> entries, std::vector<std::int32_t>& counts) {
        entries_ = entries;
        starts_.clear();
        copies_.clear();
        items_.clear();
        item_starts_.assign(1, 0);
        n_copies_ = 0;
        for (const BatchEntry& e : entries) ++counts[e.item];
        std::int32_t previous = -1, n_shares = 0;
        for (std::int32_t k = 0; k < std::ssize(entries); ++k) {
            BatchEntry& e = entries[k];
            if (e.user != previous) {
                starts_.push_back(k);
                copies_.push_back(-1);
                previous = e.user;
            }
            std::int32_t& count = counts[e.item];
            if (count == 1) {
                count = 0;
                continue;
            }
            if (count > 1) {  // from now on -1 - its number
                n_shares += count;
                items_.push_back(e.item);
                item_starts_.push_back(n_shares);
                count = -static_cast<std::int32_t>(items_.size());
            }
            e.repeated = -1 - count;
            if (copies_.back() < 0) copies_.back() = n_copies_++;
        }
        starts_.push_back(static_cast<std::int32_t>(entries.size()));
        for (const std::int32_t item : items_) counts[item] = 0;
        share(n_shares);
    }

    struct Share {
        std::int32_t entry, copy;
    };

    std::span<const BatchEntry> entries() const { return entries_; }
    std::int64_t n_users() const { return std::ssize(starts_) - 1; }
    std::int32_t user(std::int64_t u) const { return entries_[starts_[u]].user; }
    std::int32_t start(std::int64_t u) const { return starts_[u]; }    // of the user's entries; n_users() is the end
    std::int32_t copy(std::int64_t u) const { return copies_[u]; }     // number of the copy that its row needs, or -1
    std::span<const std::int32_t> repeated() const { return items_; }  // items with several ratings
    std::span<const Share> shares(std::int64_t r) const {              // those ratings
        return std::span<const Share>(shares_).subspan(item_starts_[r], item_starts_[r + 1] - item_starts_[r]);
    }

private:
    // Counting sort of the ratings of repeated items.
    void share(std::int32_t n_shares) {
        shares_.resize(n_shares);
        for (std::int64_t u = 0; u < n_users(); ++u) {
            for (std::int32_t k = starts_[u]; k < starts_[u + 1]; ++k) {
                const std::int32_t r = entries_[k].repeated;
                if (r >= 0) shares_[item_starts_[r]++] = {k, copies_[u]};
            }
        }
        for (std::size_t r = items_.size(); r > 0; --r) item_starts_[r] = item_starts_[r - 1];
        item_starts_[0] = 0;
    }

    std::span<BatchEntry> entries_;
    std::vector<std::int32_t> starts_, copies_, items_, item_starts_;
    std::vector<Share> shares_;
    std::int32_t n_copies_ = 0;
};

// All ratings of some users in random batches of nearly equal size; those of a batch stay in the order of users.
class ShuffledRatings {
public:
    void assign(const Csr& ratings, std::span<const std::int32_t> users, std::int64_t batch_size, Random random) {
        std::int64_t n = 0;
        for (const std::int32_t user : users) n += ratings.length(user);
        const std::int64_t batches = (n + batch_size - 1) / std::max<std::int64_t>(batch_size, 1);
        entries_.resize(n);
        labels_.resize(n);
        ends_.resize(batches);
        for (std::int64_t b = 0; b < batches; ++b) {
            ends_[b] = n * b / batches;
            std::fill(labels_.begin() + ends_[b], labels_.begin() + n * (b + 1) / batches,
                      static_cast<std::int32_t>(b));
        }
        for (std::uint64_t left = n; left > 1; --left) {
            std::swap(labels_[left - 1], labels_[left >> 32 ? random.next() % left : random.below(left)]);
        }
        std::size_t at = 0;
        for (const std::int32_t user : users) {
            for (std::int64_t e = ratings.indptr[user]; e < ratings.indptr[user + 1]; ++e) {
                entries_[ends_[labels_[at++]]++] = {user, ratings.indices[e], ratings.values[e], -1};
            }
        }
    }

    std::int64_t size() const { return std::ssize(ends_); }
    std::int64_t begin(std::int64_t b) const { return b == 0 ? 0 : ends_[b - 1]; }
    std::span<BatchEntry> entries(std::int64_t b) { return std::span(entries_).subspan(begin(b), ends_[b] - begin(b)); }

private:
    std::vector<BatchEntry> entries_;
    std::vector<std::int32_t> labels_;  // the batch of each rating
    std::vector<std::int64_t> ends_;
};

}  // namespace cofactor
