// Hits in ranked lists, for Python.
#include "metrics/metrics.hpp"

#include <algorithm>

#include "bindings.hpp"

namespace {

bool are_rows(const In1<std::int32_t>& rows, std::int64_t n) {
    const std::span<const std::int32_t> all = view(rows);
    if (all.empty()) return true;
    const auto [low, high] = std::minmax_element(all.begin(), all.end());
    return *low >= -1 && *high < n;
}

std::int64_t list_hits(In1<std::int64_t> indptr, In1<std::int32_t> items, In1<std::int32_t> of,
                       In1<std::int64_t> relevant_indptr, In1<std::int32_t> relevant, std::int64_t n_items,
                       Out1<std::int32_t> nth, Out1<std::int64_t> count, int threads) {
    const cofactor::Csr lists = csr(indptr, items, nullptr), wanted = csr(relevant_indptr, relevant, nullptr);
    check(static_cast<std::int64_t>(of.size()) == lists.n_rows(), "of must have one row per list");
    check(nth.size() == items.size(), "nth must have one value per place");
    check(count.size() == of.size(), "count must have one value per list");
    check(n_items >= 0, "n_items must be at least 0");
    check(are_rows(of, wanted.n_rows()), "of must hold rows of relevant, or -1");
    check(are_rows(items, n_items) && are_rows(relevant, n_items), "items must be rows below n_items, or -1");
    std::int64_t repeated = -1;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        repeated = cofactor::list_hits({lists.indptr, lists.indices, view(of)}, wanted, n_items,
                                       {nth.data(), count.data()}, threads, interrupt);
    });
    return repeated;
}

}  // namespace

void bind_metrics(nb::module_& m) {
    m.def("list_hits", &list_hits, "indptr"_a, "items"_a, "of"_a, "relevant_indptr"_a, "relevant"_a, "n_items"_a,
          "nth"_a.noconvert(), "count"_a.noconvert(), "threads"_a);
}
