// Indexes of vectors for Python.
#include "bindings.hpp"
#include "retrieval/index.hpp"
#include "topk/bind_filters.hpp"

namespace {

std::pair<std::int64_t, std::int64_t> index_layout(std::int64_t factors) {
    check(factors >= 1, "there must be at least one factor");
    const cofactor::Layout layout = cofactor::index_layout(static_cast<std::ptrdiff_t>(factors));
    return {layout.panel, layout.bytes};
}

cofactor::Vectors vectors(const InMatrix& items, const std::optional<In1<float>>& bias) {
    check(items.shape(1) >= 1, "there must be at least one factor");
    check(items.shape(1) <= cofactor::kMostFactors, "an index is of at most 16,384 factors");
    check(items.shape(0) < INT32_MAX, "there are more items than an int32 can count");
    check(!bias || bias->size() == items.shape(0), "bias must have one value per item");
    return {items.data(), static_cast<std::int64_t>(items.shape(0)), static_cast<std::ptrdiff_t>(items.shape(1)),
            bias ? view(*bias) : std::span<const float>{}};
}

void check_offsets(const In1<std::int64_t>& offsets, std::int64_t n, const char* what) {
    check(offsets.size() >= 1 && offsets.data()[0] == 0 && offsets.data()[offsets.size() - 1] == n, what);
    for (std::size_t i = 1; i < offsets.size(); ++i) check(offsets.data()[i - 1] < offsets.data()[i], what);
}

template <class Arrays>
void check_index(const Arrays& index, std::int64_t n_panels, std::int64_t factors) {
    const cofactor::Layout layout = cofactor::index_layout(static_cast<std::ptrdiff_t>(factors));
    const std::int64_t n_blocks = index.n_blocks();
    const auto size = [](const auto& span) { return static_cast<std::int64_t>(span.size()); };
    check(size(index.places) == n_panels * layout.panel && size(index.codes) == n_panels * layout.bytes &&
              size(index.panels) == n_panels * cofactor::kPanelBounds &&
              size(index.blocks) == n_blocks * cofactor::kBlockBounds &&
              size(index.directions) == (n_blocks + layout.panel - 1) / layout.panel * layout.panel * factors,
          "the parts of the index do not fit each other, or are of another CPU level");
}

std::int64_t cut_blocks(InMatrix items, Out1<std::int32_t> order, In1<std::int64_t> given, Out1<std::int64_t> offsets,
                        std::int64_t most, int threads) {
    const cofactor::Vectors vectors = ::vectors(items, {});
    check_offsets(given, static_cast<std::int64_t>(order.size()), "offsets must ascend from 0 to the last place");
    check(most >= 16, "most must be at least 16");
    check(offsets.size() >= given.size() + 16 * order.size() / most + 1, "there are too few offsets");
    for (std::size_t i = 0; i < order.size(); ++i) {
        check(order.data()[i] >= 0 && order.data()[i] < vectors.n, "order must hold item rows");
    }
    std::int64_t n_blocks = 0;
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        n_blocks = cofactor::cut_blocks(vectors, {order.data(), order.size()}, view(given),
                                        {offsets.data(), offsets.size()}, most, threads, interrupt);
    });
    return n_blocks;
}

void pack_index(InMatrix items, std::optional<In1<float>> bias, In1<std::int32_t> order, In1<std::int64_t> offsets,
                Out1<std::int32_t> places, In1<std::int64_t> first_panel, Out1<float> directions, Out1<double> blocks,
                Out1<double> panels, Out1<std::uint8_t> codes, int threads) {
    const cofactor::Vectors given = vectors(items, bias);
    check_offsets(offsets, static_cast<std::int64_t>(order.size()), "offsets must ascend from 0 to the last place");
    check(first_panel.size() == offsets.size(), "there must be one first panel per block");
    const std::int64_t n_panels = first_panel.data()[first_panel.size() - 1], panel = index_layout(1).first;
    check_offsets(first_panel, n_panels, "the panels of blocks must ascend from 0");
    for (std::size_t b = 1; b < offsets.size(); ++b) {
        const std::int64_t size = offsets.data()[b] - offsets.data()[b - 1];
        check(first_panel.data()[b] - first_panel.data()[b - 1] == (size + panel - 1) / panel,
              "a block must have just the panels that its items fill");
    }
    for (const std::int32_t item : view(order)) check(item >= 0 && item < given.n, "order must hold item rows");
    const cofactor::IndexParts index{{places.data(), places.size()},         view(first_panel),
                                     {directions.data(), directions.size()}, {blocks.data(), blocks.size()},
                                     {panels.data(), panels.size()},         {codes.data(), codes.size()}};
    check_index(index, n_panels, given.factors);
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::pack_index(given, view(order), view(offsets), index, threads, interrupt);
    });
}

void index_top_k(InMatrix queries, InMatrix items, std::optional<In1<float>> bias, In1<std::int32_t> places,
                 In1<std::int64_t> first_panel, In1<float> directions, In1<double> blocks, In1<double> panels,
                 In1<std::uint8_t> codes, std::optional<In1<std::int64_t>> excluded_indptr,
                 std::optional<In1<std::int32_t>> excluded_indices, std::optional<In1<std::int32_t>> allowed,
                 OutMatrix<std::int32_t> best_items, OutMatrix<float> best_scores, int threads) {
    const std::int64_t n = queries.shape(0);
    const cofactor::Vectors given = vectors(items, bias);
    check(queries.shape(1) == items.shape(1), "queries and items must have the same number of factors");
    const Filters filter =
        filters(n, given.n, excluded_indptr, excluded_indices, allowed, "allowed must hold ascending item rows");
    const cofactor::Ranking out = ranking(n, best_items, best_scores);
    const cofactor::VectorIndex index{view(places), view(first_panel), view(directions),
                                      view(blocks), view(panels),      view(codes)};
    check(first_panel.size() >= 1, "first_panel is empty");
    const std::int64_t n_panels = first_panel.data()[first_panel.size() - 1];
    check_offsets(first_panel, n_panels, "the panels of blocks must ascend from 0");
    check_index(index, n_panels, given.factors);
    const cofactor::TopKQuery query{queries.data(),   n,          given.values,     given.n,
                                    given.factors,    given.bias, filter.exclude(), filter.allowed,
                                    filter.restricted};
    bool fine = true;
    run(threads, filter.exclude(), given.n, [&](cofactor::Interrupt& interrupt) {
        fine = cofactor::index_top_k(query, index, {out.columns, out.scores, out.k}, threads, interrupt);
    });
    check(fine, "the index names an item that is not there");
}

}  // namespace

void bind_retrieval(nb::module_& m) {
    m.def("index_layout", &index_layout, "factors"_a);
    m.def("cut_blocks", &cut_blocks, "items"_a, "order"_a.noconvert(), "given"_a, "offsets"_a.noconvert(), "most"_a,
          "threads"_a);
    m.def("pack_index", &pack_index, "items"_a, "bias"_a.none(), "order"_a, "offsets"_a, "places"_a.noconvert(),
          "first_panel"_a, "directions"_a.noconvert(), "blocks"_a.noconvert(), "panels"_a.noconvert(),
          "codes"_a.noconvert(), "threads"_a);
    m.def("index_top_k", &index_top_k, "queries"_a, "items"_a, "bias"_a.none(), "places"_a, "first_panel"_a,
          "directions"_a, "blocks"_a, "panels"_a, "codes"_a, "excluded_indptr"_a.none(), "excluded_indices"_a.none(),
          "allowed"_a.none(), "best_items"_a.noconvert(), "best_scores"_a.noconvert(), "threads"_a);
}
