// Implicit ALS: one half-sweep, the rows of one side solved exactly or improved with the other side held fixed.
//
// For a row with history {(k, w_k)} and fixed vectors y_k, the loss as a function of its vector x is
//     sum_k w_k (1 - x.y_k)^2 + a0 x'Gx + l |x|^2,   G = Y'Y,   l = regularization (n + a0 n_fixed)^exponent
// (Rendle et al. 2021, eq. 2-5, with weights; Hu, Koren & Volinsky 2008 for the Gramian trick), so that x solves
//     (a0 G + l I + Z'Z) x = Z' s,   s_k = sqrt(w_k),   z_k = s_k y_k.
// Everything below works on z, the scaled rows gathered into cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "csr.hpp"
#include "dense.hpp"
#include "parallel.hpp"

namespace cofactor {

enum class AlsSolver { cholesky, cg, subspace };

struct AlsOptions {
    float alpha, unobserved_weight, regularization, regularization_exponent;
    AlsSolver solver;
    int cg_steps;        // cg: at most this many steps
    float cg_tolerance;  // cg: a row is done when |residual| <= cg_tolerance |right-hand side|
    int block_size;      // subspace: rounded up to a multiple of kPad
};

struct AlsResult {
    double loss;              // summed over rows: all terms above, the fixed side's regularization excepted
    std::int64_t failed_row;  // first row whose system is not positive definite, or -1
};

namespace als {

inline constexpr std::ptrdiff_t kBlockFloats = 8192;     // gathered rows that stay in the first-level cache
inline constexpr std::ptrdiff_t kCacheFloats = 131072;   // gathered histories that stay in the second-level cache
inline constexpr std::ptrdiff_t kArenaFloats = 2097152;  // one long history: read in order, faster than gathered again
inline constexpr int kAhead = 12;                        // rows prefetched ahead of the one being gathered
inline constexpr std::int64_t kGrain = 16;               // rows a thread takes at a time
inline constexpr float kRoundoff = 1e-14f;               // squared relative residual that float32 cannot go below

// One history: entries [begin, begin + n) of the CSR; z when it is gathered whole.
struct History {
    std::int64_t row = 0, begin = 0;
    std::ptrdiff_t n = 0;
    float lambda = 0.0f;
    double weight = 0.0;        // sum of w
    float* z = nullptr;         // n x width, or null: too long, gathered block by block each time
    float* residual = nullptr;  // subspace: s - z.x
};

// One half-sweep as seen by one thread. Allocated before the threads start: nothing in here can throw afterwards.
class Worker {
public:
    Worker(const Csr& history, const float* fixed, std::ptrdiff_t n_fixed, std::ptrdiff_t factors, const float* gramian,
           const AlsOptions& options, float* solved)
        : csr_(history),
          fixed_(fixed),
          n_fixed_(n_fixed),
          factors_(factors),
          width_(padded(factors)),
          gramian_(gramian),
          options_(options),
          solved_(solved),
          block_rows_(std::clamp<std::ptrdiff_t>(kBlockFloats / width_, 16, 256)),
          block_(block_rows_ * width_),
          scale_(block_rows_) {
        if (options.solver == AlsSolver::cholesky) {
            system_ = Buffer(width_ * width_);
            vectors_ = Buffer(3 * width_);
            return;
        }
        arena_ = Buffer(kArenaFloats);
        vectors_ = Buffer(kTileRows * 5 * width_);
        if (options.solver == AlsSolver::subspace) {
            const std::ptrdiff_t block = std::min(padded(options.block_size), width_);
            std::int64_t longest = kArenaFloats / width_;
            for (std::int64_t r = 0; r < csr_.n_rows(); ++r) {
                longest = std::max(longest, csr_.indptr[r + 1] - csr_.indptr[r]);
            }
            residual_ = Buffer(longest);
            system_ = Buffer(block * block + 3 * block);
        }
    }

    // Solves rows [begin, end); returns their loss, or NaN with failed() set.
    double solve(std::int64_t begin, std::int64_t end) {
        double loss = 0.0;
        if (options_.solver == AlsSolver::cholesky) {
            for (std::int64_t row = begin; row < end && failed_ < 0; ++row) loss += solve_exactly(row);
            return loss;
        }
        while (begin < end && failed_ < 0) loss += improve_batch(begin, end);
        return loss;
    }

    std::int64_t failed() const { return failed_; }

private:
    History history(std::int64_t row) const {
        History h;
        h.row = row;
        h.begin = csr_.indptr[row];
        h.n = csr_.indptr[row + 1] - h.begin;
        const float frequency = static_cast<float>(h.n) + options_.unobserved_weight * static_cast<float>(n_fixed_);
        h.lambda = options_.regularization * std::pow(frequency, options_.regularization_exponent);
        for (std::ptrdiff_t k = 0; k < h.n; ++k) h.weight += options_.alpha * csr_.values[h.begin + k];
        return h;
    }

    // z rows and scales of entries [first, first + n) of a history, columns [c, c + columns).
    void gather(const History& h, std::ptrdiff_t first, std::ptrdiff_t n, std::ptrdiff_t c, std::ptrdiff_t columns,
                float* z, float* scale) const {
        const std::ptrdiff_t filled = std::min(columns, factors_ - c), whole = filled / kLanes * kLanes;
        const std::int64_t n_entries = static_cast<std::int64_t>(csr_.indices.size());
        for (std::ptrdiff_t k = 0; k < n; ++k, z += columns) {
            const std::int64_t e = h.begin + first + k;
            if (e + kAhead < n_entries) prefetch(fixed_ + csr_.indices[e + kAhead] * factors_ + c, filled);
            const float* y = fixed_ + csr_.indices[e] * factors_ + c;
            const float s = std::sqrt(options_.alpha * csr_.values[e]);
            scale[k] = s;
            const Vec vs = broadcast(s);
            std::ptrdiff_t j = 0;
            for (; j < whole; j += kLanes) store(z + j, vs * load(y + j));
            for (; j < filled; ++j) z[j] = s * y[j];
            for (; j < columns; ++j) z[j] = 0.0f;
        }
    }

    // visit(z, stride, first, n): the scaled rows of a history, block by block, columns [c, c + columns).
    template <class Visit>
    void over_history(const History& h, std::ptrdiff_t c, std::ptrdiff_t columns, Visit&& visit) {
        for (std::ptrdiff_t first = 0; first < h.n; first += block_rows_) {
            const std::ptrdiff_t n = std::min(block_rows_, h.n - first);
            if (h.z != nullptr) {
                visit(h.z + first * width_ + c, width_, first, n);
            } else {
                gather(h, first, n, c, columns, block_.data(), scale_.data());
                visit(static_cast<const float*>(block_.data()), columns, first, n);
            }
        }
    }

    // out += sum_k t_k z_k
    static void add_rows(const float* z, std::ptrdiff_t stride, std::ptrdiff_t n, const float* t,
                         std::ptrdiff_t columns, float* out) {
        over_tiles(0, columns, [&]<int kVectors>(std::ptrdiff_t j) {
            Vec acc[1][kVectors];
            for (int v = 0; v < kVectors; ++v) acc[0][v] = load(out + j + v * kLanes);
            tile<1, kVectors>(n, t, 1, 0, z + j, stride, acc);
            for (int v = 0; v < kVectors; ++v) store(out + j + v * kLanes, acc[0][v]);
        });
    }

    // out[k] = z_k . p, four rows at a time so that p is loaded once for them
    static void dots(const float* z, std::ptrdiff_t stride, std::ptrdiff_t n, const float* p, std::ptrdiff_t columns,
                     float* out) {
        std::ptrdiff_t k = 0;
        for (; k + 4 <= n; k += 4, z += 4 * stride) {
            Vec s[4] = {};
            for (std::ptrdiff_t j = 0; j < columns; j += kLanes) {
                const Vec x = load(p + j);
                for (int r = 0; r < 4; ++r) s[r] += load(z + r * stride + j) * x;
            }
            for (int r = 0; r < 4; ++r) out[k + r] = sum(s[r]);
        }
        for (; k < n; ++k, z += stride) out[k] = dot(z, p, columns);
    }

    double solve_exactly(std::int64_t row) {
        const History h = history(row);
        float* x_row = solved_ + row * factors_;
        if (h.n == 0) {
            std::fill_n(x_row, factors_, 0.0f);
            return 0.0;
        }
        float* a = system_.data();
        float *b = vectors_.data(), *x = b + width_, *inverse = x + width_;
        std::fill_n(b, width_, 0.0f);
        const float* start = gramian_;  // the Gramian first, then what has been summed up so far
        over_history(h, 0, width_, [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t, std::ptrdiff_t n) {
            add_rows(z, stride, n, scale_.data(), width_, b);
            add_gramian(n, width_, z, stride, start, width_, a, width_);
            start = a;
        });
        add_diagonal(a, width_, factors_, h.lambda);
        std::copy_n(b, factors_, x_row);  // kept for the loss: cholesky_solve overwrites b
        if (!cholesky(width_, a, inverse)) return fail(row);
        cholesky_solve(width_, a, inverse, b, x);
        double fitted = 0.0;
        for (std::ptrdiff_t j = 0; j < factors_; ++j) fitted += static_cast<double>(x_row[j]) * x[j];
        std::copy_n(x, factors_, x_row);
        return h.weight - fitted;  // at the minimum
    }

    // Adds lambda to the diagonal, one where the matrix is padding.
    static void add_diagonal(float* a, std::ptrdiff_t n, std::ptrdiff_t filled, float lambda) {
        for (std::ptrdiff_t i = 0; i < n; ++i) a[i * n + i] += i < filled ? lambda : 1.0f;
    }

    double fail(std::int64_t row) {
        failed_ = row;
        return std::numeric_limits<double>::quiet_NaN();
    }

    // Takes up to kTileRows rows whose histories fit the arena together, so that the Gramian is read once for all.
    double improve_batch(std::int64_t& begin, std::int64_t end) {
        History batch[kTileRows];
        int n = 0;
        std::ptrdiff_t used = 0;
        for (; begin < end && n < kTileRows; ++begin) {
            History h = history(begin);
            if (h.n == 0) {
                std::fill_n(solved_ + begin * factors_, factors_, 0.0f);
                continue;
            }
            const bool fits = h.n * width_ <= (n == 0 ? kArenaFloats : kCacheFloats - used);
            if (!fits && n > 0) break;
            if (fits) {
                h.z = arena_.data() + used;
                used += h.n * width_;
            }
            batch[n++] = h;
            if (h.n * width_ > kCacheFloats) {
                ++begin;
                break;
            }
        }
        if (n == 0) return 0.0;
        float* x = vector(0);
        std::fill_n(x, kTileRows * width_, 0.0f);
        for (int i = 0; i < n; ++i) std::copy_n(solved_ + batch[i].row * factors_, factors_, x + i * width_);
        const double loss = options_.solver == AlsSolver::cg ? conjugate_gradient(batch, n) : subspaces(batch, n);
        for (int i = 0; i < n; ++i) std::copy_n(x + i * width_, factors_, solved_ + batch[i].row * factors_);
        return loss;
    }

    float* vector(int which) { return vectors_.data() + which * kTileRows * width_; }

    // out_i = (a0 G + lambda_i + Z_i'Z_i) p_i
    void apply_system(const History* batch, int n, const float* p, float* out) {
        multiply_rows(width_, width_, p, width_, gramian_, width_, out, width_);
        for (int i = 0; i < n; ++i) {
            const float* pi = p + i * width_;
            float* oi = out + i * width_;
            axpy(batch[i].lambda, pi, oi, width_);
            over_history(batch[i], 0, width_,
                         [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t, std::ptrdiff_t m) {
                             float t[256];
                             dots(z, stride, m, pi, width_, t);
                             add_rows(z, stride, m, t, width_, oi);
                         });
        }
    }

    // Hestenes & Stiefel 1952, warm-started from the current vectors (Takacs, Pilaszy & Tikk 2011).
    double conjugate_gradient(History* batch, int n) {
        float *x = vector(0), *b = vector(1), *r = vector(2), *p = vector(3), *q = vector(4);
        std::fill_n(b, kTileRows * width_, 0.0f);
        for (int i = 0; i < n; ++i) right_hand_side(batch[i], b + i * width_);
        apply_system(batch, n, x, q);
        float rr[kTileRows], enough[kTileRows];
        for (int i = 0; i < kTileRows * width_; ++i) p[i] = r[i] = b[i] - q[i];
        for (int i = 0; i < n; ++i) {
            rr[i] = dot(r + i * width_, r + i * width_, width_);
            enough[i] = std::max(options_.cg_tolerance * options_.cg_tolerance, kRoundoff) *
                        dot(b + i * width_, b + i * width_, width_);
        }
        for (int step = 0; step < options_.cg_steps; ++step) {
            bool converged = true;
            for (int i = 0; i < n; ++i) converged = converged && !(rr[i] > enough[i]);
            if (converged) break;
            apply_system(batch, n, p, q);
            for (int i = 0; i < n; ++i) {
                if (!(rr[i] > enough[i])) continue;
                float *pi = p + i * width_, *ri = r + i * width_;
                const float curvature = dot(pi, q + i * width_, width_);
                if (!(curvature > 0.0f)) return fail(batch[i].row);
                const float length = rr[i] / curvature;
                axpy(length, pi, x + i * width_, width_);
                axpy(-length, q + i * width_, ri, width_);
                const float before = rr[i];
                rr[i] = dot(ri, ri, width_);
                const Vec beta = broadcast(rr[i] / before);
                for (std::ptrdiff_t j = 0; j < width_; j += kLanes) store(pi + j, load(ri + j) + beta * load(pi + j));
            }
        }
        double loss = 0.0;  // sum w - 2 x.b + x'Ax with Ax = b - r
        for (int i = 0; i < n; ++i) {
            loss += batch[i].weight;
            for (std::ptrdiff_t j = i * width_; j < (i + 1) * width_; ++j)
                loss -= static_cast<double>(x[j]) * (b[j] + r[j]);
        }
        return loss;
    }

    // Gathers the history where it fits and adds Z's to b.
    void right_hand_side(const History& h, float* b) {
        for (std::ptrdiff_t first = 0; first < h.n; first += block_rows_) {
            const std::ptrdiff_t n = std::min(block_rows_, h.n - first);
            float* z = h.z != nullptr ? h.z + first * width_ : block_.data();
            gather(h, first, n, 0, width_, z, scale_.data());
            add_rows(z, width_, n, scale_.data(), width_, b);
        }
    }

    // iALS++ (Rendle et al. 2021b, alg. 2): Newton steps on blocks of coordinates, exact within a block. Residuals
    // are kept up to date, so that a sweep costs n * width * (block + 3) per row.
    double subspaces(History* batch, int n) {
        const std::ptrdiff_t block = std::min(padded(options_.block_size), width_);
        float *x = vector(0), *gx = vector(1), *a = system_.data();
        float *gradient = a + block * block, *step = gradient + block, *inverse = step + block;
        float* residual = residual_.data();
        for (int i = 0; i < n; ++i) {
            batch[i].residual = residual;
            residual += batch[i].n;
            start_residual(batch[i], x + i * width_);
        }
        for (std::ptrdiff_t c = 0; c < width_; c += block) {
            const std::ptrdiff_t columns = std::min(block, width_ - c), filled = std::min(columns, factors_ - c);
            multiply_rows(width_, columns, x, width_, gramian_ + c, width_, gx, width_);
            for (int i = 0; i < n; ++i) {
                const History& h = batch[i];
                float* xi = x + i * width_ + c;
                for (std::ptrdiff_t j = 0; j < columns; ++j) gradient[j] = -gx[i * width_ + j] - h.lambda * xi[j];
                const float* start = gramian_ + c * width_ + c;
                std::ptrdiff_t start_stride = width_;
                over_history(h, c, columns,
                             [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t first, std::ptrdiff_t m) {
                                 add_rows(z, stride, m, h.residual + first, columns, gradient);
                                 add_gramian(m, columns, z, stride, start, start_stride, a, columns);
                                 start = a;
                                 start_stride = columns;
                             });
                add_diagonal(a, columns, filled, h.lambda);
                if (!cholesky(columns, a, inverse)) return fail(h.row);
                cholesky_solve(columns, a, inverse, gradient, step);
                axpy(1.0f, step, xi, columns);
                over_history(h, c, columns,
                             [&](const float* z, std::ptrdiff_t stride, std::ptrdiff_t first, std::ptrdiff_t m) {
                                 float t[256];
                                 dots(z, stride, m, step, columns, t);
                                 for (std::ptrdiff_t k = 0; k < m; ++k) h.residual[first + k] -= t[k];
                             });
            }
        }
        multiply_rows(width_, width_, x, width_, gramian_, width_, gx, width_);
        double loss = 0.0;
        for (int i = 0; i < n; ++i) {
            for (std::ptrdiff_t k = 0; k < batch[i].n; ++k)
                loss += static_cast<double>(batch[i].residual[k]) * batch[i].residual[k];
            for (std::ptrdiff_t j = i * width_; j < (i + 1) * width_; ++j) {
                loss += static_cast<double>(x[j]) * (gx[j] + batch[i].lambda * x[j]);
            }
        }
        return loss;
    }

    // Gathers the history where it fits; residual = s - Z x.
    void start_residual(const History& h, const float* x) {
        for (std::ptrdiff_t first = 0; first < h.n; first += block_rows_) {
            const std::ptrdiff_t n = std::min(block_rows_, h.n - first);
            float* z = h.z != nullptr ? h.z + first * width_ : block_.data();
            gather(h, first, n, 0, width_, z, scale_.data());
            float t[256];
            dots(z, width_, n, x, width_, t);
            for (std::ptrdiff_t k = 0; k < n; ++k) h.residual[first + k] = scale_.data()[k] - t[k];
        }
    }

    Csr csr_;
    const float* fixed_;
    std::ptrdiff_t n_fixed_, factors_, width_;
    const float* gramian_;  // a0 G, width x width, zero-padded
    AlsOptions options_;
    float* solved_;
    std::ptrdiff_t block_rows_;
    Buffer block_, scale_, arena_, system_, vectors_, residual_;
    std::int64_t failed_ = -1;
};

}  // namespace als

// g (factors x factors) = y' y for y (n x factors). The slices and the order of their sum do not depend on the number
// of threads, so neither does the result.
inline void gramian(const float* y, std::int64_t n, std::ptrdiff_t factors, float* g, int threads,
                    Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors),
                         block = std::clamp<std::ptrdiff_t>(als::kBlockFloats / width, 16, 256);
    const std::int64_t slices = std::clamp<std::int64_t>(n / 2048, 1, factors <= 256 ? 64 : 16);
    threads = static_cast<int>(std::min<std::int64_t>(slices, threads));
    std::vector<Buffer> sums, blocks;
    for (std::int64_t s = 0; s < slices; ++s) sums.emplace_back(width * width);
    for (int t = 0; t < threads; ++t) blocks.emplace_back(block * width);
    parallel_for(slices, 1, threads, interrupt, [&](std::int64_t s, std::int64_t, int worker) {
        float *sum = sums[s].data(), *z = blocks[worker].data();
        for (std::int64_t first = n * s / slices, end = n * (s + 1) / slices; first < end; first += block) {
            const std::int64_t rows = std::min<std::int64_t>(block, end - first);
            for (std::int64_t r = 0; r < rows; ++r) std::copy_n(y + (first + r) * factors, factors, z + r * width);
            add_gramian(rows, width, z, width, sum, width, sum, width);
        }
    });
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        for (std::ptrdiff_t j = i; j < factors; ++j) {
            double total = 0.0;
            for (const Buffer& sum : sums) total += sum.data()[i * width + j];
            g[i * factors + j] = g[j * factors + i] = static_cast<float>(total);
        }
    }
}

// Improves every row of solved (n_rows x factors) with the other side held fixed.
inline AlsResult als_sweep(const Csr& history, float* solved, const float* fixed, std::int64_t n_fixed,
                           std::ptrdiff_t factors, const float* g, const AlsOptions& options, int threads,
                           Interrupt& interrupt) {
    const std::ptrdiff_t width = padded(factors);
    Buffer scaled(width * width);
    for (std::ptrdiff_t i = 0; i < factors; ++i) {
        for (std::ptrdiff_t j = 0; j < factors; ++j)
            scaled.data()[i * width + j] = options.unobserved_weight * g[i * factors + j];
    }
    const std::int64_t n = history.n_rows();
    threads = static_cast<int>(std::clamp<std::int64_t>((n + als::kGrain - 1) / als::kGrain, 1, threads));
    std::vector<als::Worker> workers;
    for (int t = 0; t < threads; ++t)
        workers.emplace_back(history, fixed, n_fixed, factors, scaled.data(), options, solved);
    std::vector<double> losses((n + als::kGrain - 1) / als::kGrain, 0.0);
    parallel_for(n, als::kGrain, threads, interrupt, [&](std::int64_t begin, std::int64_t end, int worker) {
        losses[begin / als::kGrain] = workers[worker].solve(begin, end);
    });
    AlsResult result{0.0, -1};
    for (const double loss : losses) result.loss += loss;
    for (const als::Worker& w : workers) {
        if (w.failed() >= 0 && (result.failed_row < 0 || w.failed() < result.failed_row))
            result.failed_row = w.failed();
    }
    return result;
}

}  // namespace cofactor
