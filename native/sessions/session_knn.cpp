#include "sessions/session_knn.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "core/parallel.hpp"
#include "topk/choice.hpp"

namespace cofactor {

void session_places(std::span<const std::int64_t> indptr, std::span<const std::int32_t> items, std::int64_t limit,
                    std::span<std::int64_t> places_indptr, std::span<std::int32_t> places,
                    std::span<std::int64_t> n_sessions_of) {
    const auto n_sessions = static_cast<std::int32_t>(indptr.size() - 1);
    std::fill(n_sessions_of.begin(), n_sessions_of.end(), 0);
    std::vector<std::int32_t> last(n_sessions_of.size(), -1);
    const auto visit = [&](auto&& each) {
        std::fill(last.begin(), last.end(), -1);
        for (std::int32_t session = n_sessions - 1; session >= 0; --session) {
            for (std::int64_t e = indptr[session]; e < indptr[session + 1]; ++e) {
                if (last[items[e]] == session) continue;
                last[items[e]] = session;
                each(session, items[e]);
            }
        }
    };
    visit([&](std::int32_t, std::int32_t item) { ++n_sessions_of[item]; });
    places_indptr[0] = 0;
    for (std::size_t i = 0; i < n_sessions_of.size(); ++i) {
        places_indptr[i + 1] = places_indptr[i] + std::min(n_sessions_of[i], limit);
    }
    std::vector<std::int64_t> at(places_indptr.begin(), places_indptr.end() - 1);
    visit([&](std::int32_t session, std::int32_t item) {
        if (at[item] < places_indptr[item + 1]) places[at[item]++] = session;
    });
}

namespace {

// Scores of all items for one session after the other; each thread has its own.
class SessionScorer {
public:
    SessionScorer(const PastSessions& past, const SessionKnn& knn, std::span<const double> near)
        : past_(past), knn_(knn), near_(near), scores_(past.n_items(), 0.0) {}

    // positions: from 1, of the last event of each item. False where an index of the past sessions is out of range.
    bool score(std::span<const std::int32_t> items, std::span<const std::int32_t> positions) {
        order(items, positions);
        if (!find()) return false;
        keep_nearest();
        return add_up();
    }

    std::span<const std::int32_t> reached() const { return reached_; }
    float operator[](std::int32_t item) const { return static_cast<float>(scores_[item]); }

    void clear() {
        for (const std::int32_t item : reached_) scores_[item] = 0;
        reached_.clear();
    }

private:
    struct Current {
        std::int32_t item, position;
        double weight;
    };
    struct Neighbour {
        std::int32_t session, shared;  // shared: the most recent of the current items that it has
        double similarity;
    };
    struct Head {  // of an item's list
        std::int32_t session, item;
        bool operator<(const Head& other) const {  // newest session first, then the most recent item
            return session != other.session ? session < other.session : item > other.item;
        }
    };

    // The current items, the most recent first, with their weights.
    void order(std::span<const std::int32_t> items, std::span<const std::int32_t> positions) {
        current_.clear();
        const std::int32_t last = positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
        for (std::size_t e = 0; e < items.size(); ++e) {
            const std::int64_t back = static_cast<std::int64_t>(last) - positions[e];
            if (back >= knn_.last_events) continue;
            const double weight = std::exp(-static_cast<double>(back) / knn_.lambda1);
            current_.push_back({items[e], positions[e], weight * past_.item_weights[items[e]]});
        }
        std::sort(current_.begin(), current_.end(), [](const Current& a, const Current& b) {
            return a.position != b.position ? a.position > b.position : a.item < b.item;
        });
    }

    // The sample_size newest sessions that share an item, newest first, with their similarities.
    bool find() {
        found_.clear();
        heads_.clear();
        at_.resize(current_.size());
        for (std::size_t c = 0; c < current_.size(); ++c) {
            const std::int32_t item = current_[c].item;
            at_[c] = past_.places_indptr[item];
            if (at_[c] < 0 || past_.places_indptr[item + 1] > static_cast<std::int64_t>(past_.places.size()))
                return false;
            if (at_[c] < past_.places_indptr[item + 1]) {
                heads_.push_back({past_.places[at_[c]], static_cast<std::int32_t>(c)});
            }
        }
        std::make_heap(heads_.begin(), heads_.end());
        while (!heads_.empty()) {
            const Head head = heads_.front();
            if (head.session < 0 || head.session >= past_.n_sessions()) return false;
            if (found_.empty() || found_.back().session != head.session) {
                if (static_cast<std::int64_t>(found_.size()) == knn_.sample_size) break;
                found_.push_back({head.session, head.item, 0.0});
            }
            found_.back().similarity += current_[head.item].weight;
            if (++at_[head.item] < past_.places_indptr[current_[head.item].item + 1]) {
                replace_first({past_.places[at_[head.item]], head.item});
            } else {
                std::pop_heap(heads_.begin(), heads_.end());
                heads_.pop_back();
            }
        }
        for (Neighbour& n : found_) n.similarity *= past_.weights[n.session];
        return true;
    }

    void replace_first(Head head) {  // one way down instead of a pop and a push
        std::size_t at = 0;
        for (std::size_t down; (down = 2 * at + 1) < heads_.size(); at = down) {
            if (down + 1 < heads_.size() && heads_[down] < heads_[down + 1]) ++down;
            if (!(head < heads_[down])) break;
            heads_[at] = heads_[down];
        }
        heads_[at] = head;
    }

    // The most similar of them, ties to the newer, still newest first; similarities become relative to the largest.
    void keep_nearest() {
        const auto k = static_cast<std::size_t>(std::min<std::int64_t>(knn_.neighbours, found_.size()));
        if (k == 0) return;
        similarities_.clear();
        for (const Neighbour& n : found_) similarities_.push_back(n.similarity);
        std::nth_element(similarities_.begin(), similarities_.begin() + (k - 1), similarities_.end(), std::greater<>{});
        const double least = similarities_[k - 1];
        const double most = *std::max_element(similarities_.begin(), similarities_.begin() + k);
        std::size_t equal =
            k - std::count_if(found_.begin(), found_.end(), [&](const Neighbour& n) { return n.similarity > least; });
        std::erase_if(found_, [&](const Neighbour& n) {
            if (n.similarity != least) return n.similarity < least;
            if (equal == 0) return true;
            --equal;
            return false;
        });
        for (Neighbour& n : found_) n.similarity /= most > 0 ? most : 1;
    }

    // What the neighbours say about the items around the one they share.
    bool add_up() {
        const auto n_events = static_cast<std::int64_t>(past_.items.size());
        for (const Neighbour& n : found_) {
            const std::int64_t begin = past_.indptr[n.session], end = past_.indptr[n.session + 1];
            if (begin < 0 || end > n_events || begin > end) return false;
            const std::int32_t shared = current_[n.shared].item;
            std::int64_t match = end - 1;
            while (match > begin && past_.items[match] != shared) --match;
            for (std::int64_t e = begin; e < match; ++e) {
                if (!add(past_.items[e], n.similarity * knn_.backward * near(match - e))) return false;
            }
            if (!add(past_.items[match], n.similarity * knn_.repeat)) return false;
            for (std::int64_t e = match + 1; e < end; ++e) {
                if (!add(past_.items[e], n.similarity * near(e - match))) return false;
            }
        }
        for (const std::int32_t item : reached_) scores_[item] *= past_.candidate_weights[item];
        return true;
    }

    double near(std::int64_t distance) const { return near_[std::min<std::int64_t>(distance, near_.size() - 1)]; }

    bool add(std::int32_t item, double score) {
        if (item < 0 || item >= past_.n_items()) return false;
        if (score == 0) return true;
        if (scores_[item] == 0) reached_.push_back(item);
        scores_[item] += score;
        return true;
    }

    const PastSessions& past_;
    const SessionKnn& knn_;
    std::span<const double> near_;
    std::vector<double> scores_;
    std::vector<std::int32_t> reached_;
    std::vector<Current> current_;
    std::vector<Neighbour> found_;
    std::vector<Head> heads_;
    std::vector<std::int64_t> at_;
    std::vector<double> similarities_;
};

// Calls each(scorer, row) for every history (n x n_items), whose positions are given entry by entry. False where an
// index of the past sessions is out of range.
template <class Each>
bool score_sessions(const PastSessions& past, const SessionKnn& knn, const Csr& histories,
                    std::span<const std::int32_t> positions, int threads, Interrupt& interrupt, Each&& each) {
    constexpr std::int64_t kGrain = 16;
    constexpr std::size_t kDistances = 4096;  // farther ones weigh as the farthest: at most e^-4095/lambda3
    std::vector<double> near(kDistances);
    for (std::size_t d = 0; d < kDistances; ++d) near[d] = std::exp(-static_cast<double>(d) / knn.lambda3);
    const std::int64_t n = histories.n_rows();
    const int workers = static_cast<int>(std::clamp<std::int64_t>((n + kGrain - 1) / kGrain, 1, threads));
    std::vector<SessionScorer> scorers;
    scorers.reserve(workers);
    for (int worker = 0; worker < workers; ++worker) scorers.emplace_back(past, knn, near);
    std::atomic<bool> fine{true};
    parallel_for(n, kGrain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        SessionScorer& scorer = scorers[worker];
        for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t from = histories.indptr[row], length = histories.indptr[row + 1] - from;
            if (!scorer.score(histories.indices.subspan(from, length), positions.subspan(from, length))) fine = false;
            each(scorer, row);
            scorer.clear();
        }
    });
    return fine;
}

}  // namespace

bool session_top_k(const PastSessions& past, const SessionKnn& knn, const Csr& histories,
                   std::span<const std::int32_t> positions, const Choice& choice, Ranking ranking, int threads,
                   Interrupt& interrupt) {
    ranking.clear(histories.n_rows());
    return score_sessions(past, knn, histories, positions, threads, interrupt,
                          [&](const SessionScorer& scorer, std::int64_t row) {
                              BestK best = ranking.best(row);
                              const auto excluded = choice.excluded(row, 0);
                              for (const std::int32_t item : scorer.reached()) {
                                  if (!best.accepts(scorer[item], item)) continue;
                                  if ((choice.allowed(item / kBlock) >> item % kBlock & 1) == 0) continue;
                                  if (std::binary_search(excluded.begin(), excluded.end(), item)) continue;
                                  best.push(scorer[item], item);
                              }
                              best.sort();
                          });
}

bool session_scores(const PastSessions& past, const SessionKnn& knn, const Csr& histories,
                    std::span<const std::int32_t> positions, const Csr& wanted, std::span<float> values, int threads,
                    Interrupt& interrupt) {
    return score_sessions(past, knn, histories, positions, threads, interrupt,
                          [&](const SessionScorer& scorer, std::int64_t row) {
                              for (std::int64_t e = wanted.indptr[row]; e < wanted.indptr[row + 1]; ++e) {
                                  values[e] = scorer[wanted.indices[e]];
                              }
                          });
}

}  // namespace cofactor
