// The best k of a stream of scored items, kept as a heap in the arrays that the caller gets back.
#pragma once

#include <cstdint>
#include <limits>

namespace cofactor {

// The k best (score, item) of one query, in whatever order they come. Ties go to the lower item.
class BestK {
public:
    BestK(float* scores, std::int32_t* items, std::int64_t k, std::int64_t& size)
        : scores_(scores), items_(items), k_(k), size_(size) {}

    // No score below this gets in, and an equal one only with an item below `last`.
    float threshold() const { return size_ < k_ ? -std::numeric_limits<float>::infinity() : scores_[0]; }
    std::int32_t last() const { return size_ < k_ ? -1 : items_[0]; }

    // Never for NaN and minus infinity.
    bool accepts(float score, std::int32_t item) const {
        return score > threshold() || (score == threshold() && item < last());
    }

    void push(float score, std::int32_t item) {  // where accepts(score, item)
        if (size_ < k_) {
            std::int64_t at = size_++;
            for (std::int64_t up; at > 0 && worse(score, item, up = (at - 1) / 2); at = up) move(up, at);
            put(at, score, item);
        } else {
            replace_worst(score, item, k_);
        }
    }

    void sort() {  // best first: a heap sort, in place
        for (std::int64_t n = size_; --n > 0;) {
            const float score = scores_[n];
            const std::int32_t item = items_[n];
            move(0, n);
            replace_worst(score, item, n);
        }
    }

private:
    bool worse(float score, std::int32_t item, std::int64_t than) const {
        return score < scores_[than] || (score == scores_[than] && item > items_[than]);
    }
    void put(std::int64_t at, float score, std::int32_t item) {
        scores_[at] = score;
        items_[at] = item;
    }
    void move(std::int64_t from, std::int64_t to) { put(to, scores_[from], items_[from]); }

    // Puts (score, item) in the place of the root of the heap of the first n.
    void replace_worst(float score, std::int32_t item, std::int64_t n) {
        std::int64_t at = 0;
        for (;;) {
            std::int64_t child = 2 * at + 1;
            if (child >= n) break;
            if (child + 1 < n && worse(scores_[child + 1], items_[child + 1], child)) ++child;
            if (worse(score, item, child)) break;
            move(child, at);
            at = child;
        }
        put(at, score, item);
    }

    float* scores_;
    std::int32_t* items_;
    std::int64_t k_;
    std::int64_t& size_;
};

}  // namespace cofactor
