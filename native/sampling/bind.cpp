// Negative samples for Python.
#include "sampling/bind_negatives.hpp"
#include "sampling/negatives.hpp"

namespace {

void sample_negatives(In1<std::int32_t> users, std::int64_t n_users, std::int64_t n_items, Indptr seen_indptr,
                      Indices seen_indices, Indptr disliked_indptr, Indices disliked_indices, float dislike_share,
                      Values keep, Indices alias, std::uint64_t seed, std::uint64_t first, OutMatrix<std::int32_t> out,
                      int threads) {
    const auto seen = pattern(seen_indptr, seen_indices, n_users, n_items, threads);
    const auto dislikes = pattern(disliked_indptr, disliked_indices, n_users, n_items, threads);
    const cofactor::Negatives negatives{item_sampler(n_items, keep, alias), seen ? &*seen : nullptr,
                                        dislikes ? &*dislikes : nullptr, dislike_share};
    check(out.shape(0) == users.size(), "out must have one row for every user");
    for (const std::int32_t user : view(users)) check(user >= 0 && user < n_users, "users must be rows");
    run(threads, nullptr, 0, [&](cofactor::Interrupt& interrupt) {
        cofactor::sample_negatives(negatives, view(users), static_cast<std::int64_t>(out.shape(1)), seed, first,
                                   out.data(), threads, interrupt);
    });
}

void alias_table(In1<double> weights, Out1<float> keep, Out1<std::int32_t> alias) {
    check(weights.size() > 0 && keep.size() == weights.size() && alias.size() == weights.size(),
          "weights, keep and alias must have one number for every item, and there must be one");
    double sum = 0;
    for (const double weight : view(weights)) {
        check(weight >= 0, "weights must be at least 0");
        sum += weight;
    }
    check(sum > 0 && sum <= std::numeric_limits<double>::max(), "the sum of the weights must be positive and finite");
    cofactor::alias_table(view(weights), {keep.data(), keep.size()}, {alias.data(), alias.size()});
}

}  // namespace

void bind_sampling(nb::module_& m) {
    m.def("sample_negatives", &sample_negatives, "users"_a, "n_users"_a, "n_items"_a, "seen_indptr"_a.none(),
          "seen_indices"_a.none(), "disliked_indptr"_a.none(), "disliked_indices"_a.none(), "dislike_share"_a,
          "keep"_a.none(), "alias"_a.none(), "seed"_a, "first"_a, "out"_a.noconvert(), "threads"_a);
    m.def("alias_table", &alias_table, "weights"_a, "keep"_a.noconvert(), "alias"_a.noconvert());
}
