// Coordinate descent with covariance updates (Friedman, Hastie & Tibshirani 2010, section 2.2) for SLIM: with X'X at
// hand, the gradients of the items at work are kept, and a step changes them by a row of their part of X'X.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "core/dense.hpp"
#include "core/parallel.hpp"  // Buffer
#include "core/simd.hpp"
#include "slim/columns.hpp"

namespace cofactor {

// Gradients X'(x - X w) of one column x: of the items at work after every step, of all items when asked for.
class SlimCovariance {
public:
    SlimCovariance(const SlimData& data, std::int64_t most)
        : data_(data),
          most_(std::min(most, data.n_items())),
          most_solved_(std::min(kMostSolved, padded(most_))),
          floats_(std::make_unique_for_overwrite<float[]>(padded(most_) * padded(most_) + kPad)),
          system_(std::make_unique_for_overwrite<float[]>(most_solved_ * most_solved_ + kPad)),
          inverse_(most_solved_),
          solution_(most_solved_),
          all_(data.gramian_stride()),
          target_(padded(most_)),
          gradient_(padded(most_)),
          held_(data.n_items(), 0) {
        items_.reserve(most_);
        rows_ = aligned(floats_.get());
    }

    std::int64_t most() const { return most_; }
    std::int64_t size() const { return static_cast<std::int64_t>(items_.size()); }
    std::int32_t item(std::int64_t at) const { return items_[at]; }
    bool holds(std::int32_t item) const { return held_[item]; }

    // A column without weights: of_all(i) is then x_i' x.
    void begin(std::int64_t column) {
        column_ = column;
        for (const std::int32_t item : items_) held_[item] = 0;
        items_.clear();
        stride_ = 0;
        take_all(nullptr, {});
    }

    // Calls visit(i) for every item with x_i' x > 0, after begin().
    template <class Visit>
    void over_reached(Visit&& visit) const {
        for (std::int32_t i = 0; i < data_.n_items(); ++i) {
            if (all_.data()[i] > 0) visit(i);
        }
    }

    float of_all(std::int64_t item) const { return all_.data()[item]; }

    // A row of X'X for each weight.
    void take_all(const float* weights, std::span<const std::int32_t>) {
        std::copy_n(row_of(column_), data_.gramian_stride(), all_.data());
        for (std::int64_t at = 0; at < size(); ++at) {
            if (weights[at] != 0) axpy(-weights[at], row_of(items_[at]), all_.data(), data_.gramian_stride());
        }
    }

    // More items to work on, at most most() in all, while of_all() is the gradient at the weights. One gathered float
    // for each pair.
    void join(std::span<const std::int32_t> items, const float* weights) {
        const std::int64_t before = size();
        items_.insert(items_.end(), items.begin(), items.end());
        widen(before);
        std::fill(target_.data() + before, target_.data() + stride_, 0.0f);
        for (std::int64_t at = before; at < size(); ++at) {
            held_[items_[at]] = 1;
            const float* from = row_of(items_[at]);
            float* to = rows_ + at * stride_;
            for (std::int64_t other = 0; other <= at; ++other) to[other] = from[items_[other]];
            for (std::int64_t other = 0; other < at; ++other) rows_[other * stride_ + at] = to[other];
        }
        for (std::int64_t at = before; at < size(); ++at) {
            target_.data()[at] = of_all(items_[at]) + dot(rows_ + at * stride_, weights, stride_);
        }
    }

    // Gradients of the items at work anew, without the roundoff of many steps. weights: zeros up to padded(size()).
    void refresh(const float* weights) {
        std::copy_n(target_.data(), stride_, gradient_.data());
        for (std::int64_t at = 0; at < size(); ++at) {
            if (weights[at] != 0) move(at, weights[at]);
        }
    }

    float gradient(std::int64_t at) const { return gradient_.data()[at]; }
    float target(std::int64_t at) const { return target_.data()[at]; }  // x_i' x

    // As many multiply-adds as there are items at work.
    void move(std::int64_t at, float by) { axpy(-by, rows_ + at * stride_, gradient_.data(), stride_); }

    // How many items solve() takes at most.
    std::ptrdiff_t most_solved() const { return most_solved_; }

    // b = (X'X + l2 I)^-1 b over some of the items at work; b has room for padded(those). False where their equations
    // have no unique solution.
    bool solve(std::span<const std::int32_t> some, float l2, float* b) {
        const std::ptrdiff_t n = std::ssize(some), width = padded(n);
        float* a = aligned(system_.get());
        for (std::ptrdiff_t i = 0; i < width; ++i) {
            const float* from = i < n ? rows_ + some[i] * stride_ : nullptr;
            float* to = a + i * width;
            for (std::ptrdiff_t j = i / kPad * kPad; j < width; ++j) to[j] = i < n && j < n ? from[some[j]] : 0.0f;
            to[i] += i < n ? l2 : 1.0f;
        }
        std::fill(b + n, b + width, 0.0f);
        if (!cholesky(width, a, inverse_.data())) return false;
        cholesky_solve(width, a, inverse_.data(), b, solution_.data());
        std::copy_n(solution_.data(), n, b);
        return true;
    }

private:
    static constexpr std::ptrdiff_t kMostSolved = 2048;

    // A cache line holds kPad floats.
    static float* aligned(float* floats) {
        return floats + (-reinterpret_cast<std::uintptr_t>(floats) % 64) / sizeof(float);
    }

    const float* row_of(std::int64_t item) const { return data_.gramian + item * data_.gramian_stride(); }

    // Rows as wide as there are items, so that they lie close together; what is new is zero.
    void widen(std::int64_t before) {
        const std::ptrdiff_t stride = padded(size());
        for (std::int64_t at = before; at-- > 0;) {
            std::copy_backward(rows_ + at * stride_, rows_ + at * stride_ + before, rows_ + at * stride + before);
            std::fill(rows_ + at * stride + before, rows_ + (at + 1) * stride, 0.0f);
        }
        std::fill(rows_ + before * stride, rows_ + size() * stride, 0.0f);
        stride_ = stride;
    }

    const SlimData& data_;
    std::int64_t most_, column_ = 0;
    std::ptrdiff_t most_solved_;
    std::unique_ptr<float[]> floats_, system_;
    float* rows_ = nullptr;  // X'X of the items at work
    std::ptrdiff_t stride_ = 0;
    std::vector<std::int32_t> items_;
    Buffer inverse_, solution_;
    Buffer all_, target_, gradient_;  // of all items; x_i' x and gradient of those at work
    std::vector<std::int8_t> held_;
};

}  // namespace cofactor
