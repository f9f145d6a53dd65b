#include "als/gaussian_rows.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "core/dense.hpp"
#include "core/normal.hpp"

namespace cofactor {

namespace {

constexpr std::int64_t kGrain = 8;             // rows a thread takes at a time
constexpr std::ptrdiff_t kBlockFloats = 8192;  // gathered rows that stay in the first-level cache
constexpr std::int64_t kAhead = 12;            // entries whose fixed rows are on their way

// n width^2 / 2 + width^3 / 6 multiply-adds for a row of n entries, and three passes over a triangle.
class Worker {
public:
    explicit Worker(const GaussianRows& rows)
        : r_(rows),
          block_(std::clamp<std::ptrdiff_t>(kBlockFloats / rows.width, 16, 256)),
          z_(block_ * rows.width),
          over_(block_),
          square_(rows.width * rows.width),
          system_(rows.width * rows.width),
          side_(rows.width),
          right_(rows.width),
          inverse_(rows.width),
          noise_(rows.width) {}

    // Sets a row; the sum of its squares, or NaN where its system is not positive definite.
    double set(std::int64_t row) {
        const std::ptrdiff_t width = r_.width;
        const float n = static_cast<float>(std::max<std::int64_t>(r_.ratings.length(row), 1));
        const Vec scale = broadcast(std::pow(n, r_.exponent));
        float *x = r_.solved + row * width, *right = right_.data();
        const double total = add_up(r_.ratings.indptr[row], r_.ratings.indptr[row + 1]);
        for (std::ptrdiff_t i = 0; i < width * width; i += kLanes) {
            store(system_.data() + i, load(square_.data() + i) + scale * load(r_.prior + i));
        }
        for (std::ptrdiff_t i = r_.factors; i < width; ++i) system_.data()[i * width + i] = 1.0f;
        for (std::ptrdiff_t j = 0; j < width; j += kLanes) {
            store(right + j, load(side_.data() + j) + scale * load(r_.side + j));
        }
        if (!cholesky(width, system_.data(), inverse_.data())) return std::numeric_limits<double>::quiet_NaN();
        if (r_.deviation > 0.0f) add_noise(row);
        cholesky_solve(width, system_.data(), inverse_.data(), right, x);
        return total - 2.0 * dot(side_.data(), x, width) + quadratic_form(x);
    }

private:
    // square = sum y y', side = sum (r - o) y over entries [begin, end); the sum of (r - o)^2.
    double add_up(std::int64_t begin, std::int64_t end) {
        const std::ptrdiff_t width = r_.width;
        const std::int32_t* const columns = r_.ratings.indices.data();
        const std::int64_t last = std::ssize(r_.ratings.indices) - 1;
        double total = 0.0;
        std::fill_n(square_.data(), width * width, 0.0f);
        std::fill_n(side_.data(), width, 0.0f);
        while (begin < end) {
            const std::ptrdiff_t n = std::min<std::int64_t>(block_, end - begin);
            float *z = z_.data(), *over = over_.data();
            for (std::ptrdiff_t k = 0; k < n; ++k, z += width) {
                prefetch(r_.fixed + columns[std::min(begin + k + kAhead, last)] * width, width);
                const float* const y = r_.fixed + columns[begin + k] * width;
                over[k] = r_.ratings.values[begin + k] - r_.offsets[columns[begin + k]];
                total += static_cast<double>(over[k]) * over[k];
                for (std::ptrdiff_t j = 0; j < width; j += kLanes) store(z + j, load(y + j));
            }
            add_rows(z_.data(), width, n, over, width, side_.data());
            add_gramian(n, width, z_.data(), width, square_.data(), width, square_.data(), width);
            begin += n;
        }
        return total;
    }

    // right += deviation u' e with A = u' u and e standard normal, so that x gets deviation u^-1 e.
    void add_noise(std::int64_t row) {
        const std::ptrdiff_t width = r_.width;
        Random random(r_.seed, static_cast<std::uint64_t>(row));
        for (std::ptrdiff_t i = 0; i < r_.factors; i += 2) {
            const NormalPair drawn(random);
            noise_.data()[i] = static_cast<float>(drawn.first());
            if (i + 1 < r_.factors) noise_.data()[i + 1] = static_cast<float>(drawn.second());
        }
        for (std::ptrdiff_t i = 0; i < r_.factors; ++i) {
            const float share = r_.deviation * noise_.data()[i];
            over_upper(
                i, [&](std::ptrdiff_t j) { right_.data()[j] += share * system_.data()[i * width + j]; },
                [&](std::ptrdiff_t j) {
                    float* const at = right_.data() + j;
                    store(at, load(at) + broadcast(share) * load(system_.data() + i * width + j));
                });
        }
    }

    // x' square x, of which only the upper triangle is there.
    double quadratic_form(const float* x) const {
        const std::ptrdiff_t width = r_.width;
        double total = 0.0;
        for (std::ptrdiff_t i = 0; i < r_.factors; ++i) {
            const float* const row = square_.data() + i * width;
            Vec products{};
            float rest = -0.5f * row[i] * x[i];
            over_upper(
                i, [&](std::ptrdiff_t j) { rest += row[j] * x[j]; },
                [&](std::ptrdiff_t j) { products += load(row + j) * load(x + j); });
            total += 2.0 * x[i] * (static_cast<double>(rest) + sum(products));
        }
        return total;
    }

    // Columns of row i from the diagonal on: one by one to where vectors start, then vectors.
    template <class One, class Many>
    void over_upper(std::ptrdiff_t i, One&& one, Many&& many) const {
        const std::ptrdiff_t whole = (i + kLanes - 1) / kLanes * kLanes;
        for (std::ptrdiff_t j = i; j < whole; ++j) one(j);
        for (std::ptrdiff_t j = whole; j < r_.width; j += kLanes) many(j);
    }

    const GaussianRows& r_;
    std::ptrdiff_t block_;
    Buffer z_, over_, square_, system_, side_, right_, inverse_, noise_;
};

}  // namespace

GaussianRowsResult gaussian_rows(const GaussianRows& rows, int threads, Interrupt& interrupt) {
    const std::int64_t n = rows.ratings.n_rows(), pieces = (n + kGrain - 1) / kGrain;
    threads = static_cast<int>(std::clamp<std::int64_t>(pieces, 1, threads));
    std::vector<Worker> workers;
    for (int t = 0; t < threads; ++t) workers.emplace_back(rows);
    std::vector<double> squares(pieces, 0.0);  // added up in the order of the rows, whoever worked on them
    std::atomic<std::int64_t> failed{-1};
    parallel_for(n, kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        for (std::int64_t row = begin; row < end && failed < 0; ++row) {
            const double found = workers[worker].set(row);
            if (std::isnan(found)) failed = row;
            squares[begin / kGrain] += found;
        }
    });
    double total = 0.0;
    for (const double part : squares) total += part;
    return {total, failed};
}

}  // namespace cofactor
