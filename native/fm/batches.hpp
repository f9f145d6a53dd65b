// Ratings by batches: which batch each one is in, and which rows a batch touches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"

namespace cofactor {

struct BatchEntry {
    std::int32_t user, item;
    float target;
    std::int32_t repeated;  // number of the item among those with several ratings in the batch, or -1
};

// A batch: its ratings by user, and the items that have several of them. Of what a rating is (the first of its user,
// the second of its item) nothing can be foretold, so that it is got ready without branches.
class Batch {
public:
    // counts: zeros, one for each item; left so. O(ratings).
    void assign(std::span<BatchEntry> entries, std::vector<std::int32_t>& counts) {
        const std::int32_t n = static_cast<std::int32_t>(entries.size());
        entries_ = entries;
        for (auto* const of : {&starts_, &copies_, &items_}) of->resize(n + 1);
        shares_.resize(n);
        std::int32_t n_items = 0;
        for (const BatchEntry& e : entries) {
            items_[n_items] = e.item;
            n_items += ++counts[e.item] == 2;
        }
        items_.resize(n_items);
        // Ratings are sorted by repeated item, after those of all others.
        item_ends_.assign(1, n);
        for (const std::int32_t item : items_) item_ends_[0] -= counts[item];
        std::int32_t at = std::exchange(item_ends_[0], 0);
        for (std::int32_t r = 0; r < n_items; ++r) {
            item_ends_.push_back(at);
            at += counts[items_[r]];
            counts[items_[r]] = -r;  // from now on; of other items 1
        }
        std::int32_t previous = -1, n_copies = 0;
        bool copied = false;  // that of the previous user is counted
        n_users_ = 0;
        for (std::int32_t k = 0; k < n; ++k) {
            BatchEntry& e = entries[k];
            const bool first = e.user != previous;
            previous = e.user;
            starts_[n_users_] = k;
            n_users_ += first;
            e.repeated = std::max(-counts[e.item], -1);
            copied = copied && !first;
            n_copies += e.repeated >= 0 && !copied;
            copied = copied || e.repeated >= 0;
            copies_[n_users_ - 1] = copied ? n_copies - 1 : -1;
            shares_[item_ends_[e.repeated + 1]++] = {k, n_copies - 1};
        }
        starts_[n_users_] = n;
        for (const BatchEntry& e : entries) counts[e.item] = 0;
    }

    struct Share {
        std::int32_t entry, copy;
    };

    std::span<const BatchEntry> entries() const { return entries_; }
    std::int64_t n_users() const { return n_users_; }
    std::int32_t user(std::int64_t u) const { return entries_[starts_[u]].user; }
    std::int32_t start(std::int64_t u) const { return starts_[u]; }    // of the user's entries; n_users() is the end
    std::int32_t copy(std::int64_t u) const { return copies_[u]; }     // number of the copy that its row needs, or -1
    std::span<const std::int32_t> repeated() const { return items_; }  // items with several ratings
    std::span<const Share> shares(std::int64_t r) const {              // those ratings
        return std::span<const Share>(shares_).subspan(item_ends_[r], item_ends_[r + 1] - item_ends_[r]);
    }

private:
    std::span<BatchEntry> entries_;
    std::int32_t n_users_ = 0;
    std::vector<std::int32_t> starts_, copies_, items_;
    std::vector<std::int32_t> item_ends_;  // in shares_: of the ratings of other items, then of those of each one
    std::vector<Share> shares_;
};

// All ratings of some users in random batches of nearly equal size; those of a batch stay in the order of users.
class ShuffledRatings {
public:
    // Threads share the users in parts, each of which has nearly as many ratings in one batch as in another.
    void assign(const Csr& ratings, std::span<const std::int32_t> users, std::int64_t batch_size, std::uint64_t seed,
                std::int64_t stream, int threads, Interrupt& interrupt) {
        std::int64_t n = 0;
        for (const std::int32_t user : users) n += ratings.length(user);
        n_batches_ = (n + batch_size - 1) / std::max<std::int64_t>(batch_size, 1);
        entries_.resize(n);
        parts_.clear();
        rooms_.resize(threads);
        if (n == 0) return;
        n = 0;
        for (std::int64_t u = 0; u < std::ssize(users); ++u) {
            if (parts_.empty() || n - parts_.back().rating >= kOfBatch * n_batches_) parts_.push_back({u, n});
            n += ratings.length(users[u]);
        }
        parts_.push_back({std::ssize(users), n});
        parallel_for(std::ssize(parts_) - 1, 1, threads, interrupt, [&](std::int64_t p, std::int64_t, int worker) {
            const std::int64_t from = parts_[p].user, n_users = parts_[p + 1].user - from;
            part(ratings, users.subspan(from, n_users), parts_[p].rating, parts_[p + 1].rating,
                 Random(seed, stream + from), rooms_[worker]);
        });
    }

    std::int64_t size() const { return n_batches_; }
    std::int64_t begin(std::int64_t b) const {
        const std::int64_t n = std::ssize(entries_);
        return n_batches_ == 0 ? 0 : n / n_batches_ * b + std::min(b, n % n_batches_);
    }
    std::span<BatchEntry> entries(std::int64_t b) {
        return std::span(entries_).subspan(begin(b), begin(b + 1) - begin(b));
    }

private:
    static constexpr std::int64_t kOfBatch = 32;  // ratings of a part in every batch

    struct Part {
        std::int64_t user, rating;  // where it begins
    };
    struct Room {
        std::vector<std::int32_t> labels;  // the batch of each rating
        std::vector<std::int64_t> ends;    // of the batches, as they are filled
    };

    // Rating number k has label k mod n_batches, before the labels of the part are shuffled.
    void part(const Csr& ratings, std::span<const std::int32_t> users, std::int64_t begin, std::int64_t end,
              Random random, Room& room) {
        room.labels.resize(end - begin);
        std::int64_t next = begin % n_batches_;
        for (std::int32_t& label : room.labels) {
            label = static_cast<std::int32_t>(next);
            next = next + 1 < n_batches_ ? next + 1 : 0;
        }
        for (std::uint64_t left = room.labels.size(); left > 1; --left) {
            std::swap(room.labels[left - 1], room.labels[left >> 32 ? random.next() % left : random.below(left)]);
        }
        room.ends.clear();
        for (std::int64_t b = 0; b < n_batches_; ++b) {
            room.ends.push_back(this->begin(b) + begin / n_batches_ + (b < begin % n_batches_));
        }
        std::size_t at = 0;
        for (const std::int32_t user : users) {
            for (std::int64_t e = ratings.indptr[user]; e < ratings.indptr[user + 1]; ++e) {
                entries_[room.ends[room.labels[at++]]++] = {user, ratings.indices[e], ratings.values[e], -1};
            }
        }
    }

    std::vector<BatchEntry> entries_;
    std::int64_t n_batches_ = 0;
    std::vector<Part> parts_;
    std::vector<Room> rooms_;
};

}  // namespace cofactor
