// Ratings by stochastic gradient descent, for Python.
#include "bindings.hpp"
#include "core/padded.hpp"
#include "sgd/ratings_implicit.hpp"

namespace {

cofactor::RatingSide side(const OutMatrix<float>& vectors, const Out1<float>& biases, const In1<float>& shrinkage,
                          const In1<std::int32_t>& blocks, std::int64_t n) {
    const auto rows = static_cast<std::size_t>(n);
    check(vectors.shape(0) == rows && biases.size() == rows && shrinkage.size() == rows,
          "there must be a vector, a bias and a shrinkage for every row");
    check(blocks.size() >= 2 && blocks.data()[0] == 0 && blocks.data()[blocks.size() - 1] == n,
          "blocks must go from 0 to the number of rows");
    for (std::size_t b = 1; b < blocks.size(); ++b) {
        check(blocks.data()[b - 1] <= blocks.data()[b], "blocks must not descend");
    }
    return {vectors.data(), biases.data(), shrinkage.data(), view(blocks)};
}

double ratings_sgd_epoch(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                         OutMatrix<float> user_vectors, Out1<float> user_biases, In1<float> user_shrinkage,
                         OutMatrix<float> item_vectors, Out1<float> item_biases, In1<float> item_shrinkage,
                         In1<std::int32_t> user_blocks, In1<std::int32_t> item_blocks, float learning_rate,
                         float bias_learning_rate, float regularization, float bias_regularization, std::int64_t shift,
                         bool update_items, int threads) {
    const cofactor::Csr ratings = csr(indptr, indices, &values);
    const std::size_t width = item_vectors.shape(1);
    const auto n_items = static_cast<std::int64_t>(item_vectors.shape(0));
    check(width >= 1 && width % cofactor::kPad == 0 && user_vectors.shape(1) == width, "vectors must be padded alike");
    check(item_blocks.size() == user_blocks.size() && user_blocks.size() % 2 == 1,
          "there must be as many blocks of items as of users, and an even number of them");
    check(shift >= 0, "shift must be at least 0");
    const cofactor::RatingsSgd problem{ratings,
                                       static_cast<std::ptrdiff_t>(width),
                                       side(user_vectors, user_biases, user_shrinkage, user_blocks, ratings.n_rows()),
                                       side(item_vectors, item_biases, item_shrinkage, item_blocks, n_items),
                                       {learning_rate, bias_learning_rate, regularization, bias_regularization},
                                       shift,
                                       update_items};
    double total = 0.0;
    run(threads, &ratings, n_items,
        [&](cofactor::Interrupt& interrupt) { total = cofactor::ratings_sgd_epoch(problem, threads, interrupt); });
    return total;
}

double ratings_implicit_epoch(In1<std::int64_t> indptr, In1<std::int32_t> indices, In1<float> values,
                              OutMatrix<float> user_vectors, Out1<float> user_biases, In1<float> user_shrinkage,
                              OutMatrix<float> item_vectors, Out1<float> item_biases, In1<float> item_shrinkage,
                              OutMatrix<float> implicit, In1<std::int32_t> user_blocks, In1<std::int32_t> item_blocks,
                              float learning_rate, float bias_learning_rate, float regularization,
                              float bias_regularization, std::int64_t batch, int threads) {
    const cofactor::Csr ratings = csr(indptr, indices, &values);
    const std::size_t width = item_vectors.shape(1);
    const auto n_items = static_cast<std::int64_t>(item_vectors.shape(0));
    check(width >= 1 && width % cofactor::kPad == 0 && user_vectors.shape(1) == width, "vectors must be padded alike");
    check(implicit.shape(0) == item_vectors.shape(0) && implicit.shape(1) == width,
          "implicit must have the shape of the item vectors");
    check(batch >= 1, "batch must be at least 1");
    const cofactor::RatingsImplicit problem{
        {ratings,
         static_cast<std::ptrdiff_t>(width),
         side(user_vectors, user_biases, user_shrinkage, user_blocks, ratings.n_rows()),
         side(item_vectors, item_biases, item_shrinkage, item_blocks, n_items),
         {learning_rate, bias_learning_rate, regularization, bias_regularization},
         0,
         true},
        implicit.data(),
        batch};
    double total = 0.0;
    run(threads, &ratings, n_items,
        [&](cofactor::Interrupt& interrupt) { total = cofactor::ratings_implicit_epoch(problem, threads, interrupt); });
    return total;
}

}  // namespace

void bind_ratings_sgd(nb::module_& m) {
    m.def("ratings_sgd_epoch", &ratings_sgd_epoch, "indptr"_a, "indices"_a, "values"_a, "user_vectors"_a.noconvert(),
          "user_biases"_a.noconvert(), "user_shrinkage"_a, "item_vectors"_a.noconvert(), "item_biases"_a.noconvert(),
          "item_shrinkage"_a, "user_blocks"_a, "item_blocks"_a, "learning_rate"_a, "bias_learning_rate"_a,
          "regularization"_a, "bias_regularization"_a, "shift"_a, "update_items"_a, "threads"_a);
    m.def("ratings_implicit_epoch", &ratings_implicit_epoch, "indptr"_a, "indices"_a, "values"_a,
          "user_vectors"_a.noconvert(), "user_biases"_a.noconvert(), "user_shrinkage"_a, "item_vectors"_a.noconvert(),
          "item_biases"_a.noconvert(), "item_shrinkage"_a, "implicit"_a.noconvert(), "user_blocks"_a, "item_blocks"_a,
          "learning_rate"_a, "bias_learning_rate"_a, "regularization"_a, "bias_regularization"_a, "batch"_a,
          "threads"_a);
}
