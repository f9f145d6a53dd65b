#include "metrics/metrics.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/parallel.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kGrain = 256;
constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

// What an item is to the list at hand: 0 nothing, the n-th relevant item n, and -1 once it was met.
class Table {
public:
    explicit Table(std::int64_t n_items) : of_(n_items, 0) {}

    void enter(std::span<const std::int32_t> relevant) {
        for (std::size_t j = 0; j < relevant.size(); ++j)
            if (relevant[j] >= 0) of_[relevant[j]] = static_cast<std::int32_t>(j) + 1;
    }

    // Returns the first place whose item was met before, or the number of places.
    std::int64_t look_up(std::span<const std::int32_t> items, std::int32_t* nth, std::int64_t& count) {
        count = 0;
        auto repeated = static_cast<std::int64_t>(items.size());
        for (std::size_t place = 0; place < items.size(); ++place) {
            nth[place] = -1;
            if (items[place] < 0) continue;
            std::int32_t& state = of_[items[place]];
            if (state < 0) repeated = std::min(repeated, static_cast<std::int64_t>(place));
            nth[place] = std::max(state, 0) - 1;
            count += state > 0;
            state = -1;
        }
        return repeated;
    }

    void wipe(std::span<const std::int32_t> items) {
        for (const std::int32_t item : items)
            if (item >= 0) of_[item] = 0;
    }

private:
    std::vector<std::int32_t> of_;
};

}  // namespace

std::int64_t list_hits(const RankedLists& lists, const Csr& relevant, std::int64_t n_items, ListHits hits, int threads,
                       Interrupt& interrupt) {
    const auto n_lists = static_cast<std::int64_t>(lists.of.size());
    const int workers = static_cast<int>(std::clamp<std::int64_t>((n_lists + kGrain - 1) / kGrain, 1, threads));
    std::vector<Table> tables(workers, Table(n_items));
    std::vector<std::int64_t> repeated(workers, kNone);
    parallel_for(n_lists, kGrain, workers, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        Table& table = tables[worker];
        for (std::int64_t list = begin; list < end; ++list) {
            const std::int64_t from = lists.indptr[list], length = lists.indptr[list + 1] - from;
            const auto items = lists.items.subspan(from, length);
            const std::int32_t row = lists.of[list];
            const auto wanted = row < 0 ? std::span<const std::int32_t>{}
                                        : relevant.indices.subspan(relevant.indptr[row], relevant.length(row));
            table.enter(wanted);
            const std::int64_t place = table.look_up(items, hits.nth + from, hits.count[list]);
            if (place < length) repeated[worker] = std::min(repeated[worker], from + place);
            table.wipe(wanted);
            table.wipe(items);
        }
    });
    const std::int64_t first = *std::min_element(repeated.begin(), repeated.end());
    return first == kNone ? -1 : first;
}

}  // namespace cofactor
