// Coordinate descent that keeps the residual, for SLIM without X'X: less to do where items have few users, and memory
// for one number per user.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/csr.hpp"
#include "slim/covariance.hpp"

namespace cofactor {

// As SlimCovariance: gradients X'r of one column x with its residual r = x - X w.
class SlimResidual {
public:
    SlimResidual(const SlimData& data, std::int64_t)
        : data_(data),
          residual_(data.n_users(), 0.0f),
          touched_(data.n_users(), 0),
          all_(data.n_items(), 0.0f),
          known_(data.n_items(), 0),
          held_(data.n_items(), 0) {
        users_.reserve(data.n_users());
        reached_.reserve(data.n_items());
        items_.reserve(data.n_items());
    }

    std::int64_t most() const { return data_.n_items(); }
    std::int64_t size() const { return static_cast<std::int64_t>(items_.size()); }
    std::int32_t item(std::int64_t at) const { return items_[at]; }
    bool holds(std::int32_t item) const { return held_[item]; }

    void begin(std::int64_t column) {
        column_ = column;
        for (const std::int32_t item : items_) held_[item] = 0;
        for (const std::int32_t user : users_) {
            residual_[user] = 0;
            touched_[user] = 0;
        }
        items_.clear();
        users_.clear();
        touch(column);
        add(column, 1.0f);
        spread();
    }

    template <class Visit>
    void over_reached(Visit&& visit) const {
        for (const std::int32_t i : reached_) visit(i);
    }

    float of_all(std::int64_t item) const { return known_[item] == now_ ? all_[item] : 0.0f; }

    // The entries of the wanted items, or those of the users whose residual is not zero, which cost more to add up.
    void take_all(const float* weights, std::span<const std::int32_t> wanted) {
        refresh(weights);
        std::int64_t of_wanted = 0, of_users = 0;
        for (const std::int32_t i : wanted) of_wanted += data_.item_users.length(i);
        for (const std::int32_t user : users_) of_users += data_.user_items.length(user);
        if (of_wanted > 2 * of_users) {
            spread();
            return;
        }
        ++now_;
        for (const std::int32_t i : wanted) {
            all_[i] = along(i);
            known_[i] = now_;
        }
    }

    void join(std::span<const std::int32_t> items, const float*) {
        items_.insert(items_.end(), items.begin(), items.end());
        for (const std::int32_t item : items) {
            held_[item] = 1;
            touch(item);
        }
    }

    void refresh(const float* weights) {
        for (const std::int32_t user : users_) residual_[user] = 0;
        add(column_, 1.0f);
        for (std::int64_t at = 0; at < size(); ++at) {
            if (weights[at] != 0) move(at, weights[at]);
        }
    }

    // One residual for each of the item's users, and as many changes where a step is taken.
    float gradient(std::int64_t at) const { return along(items_[at]); }
    void move(std::int64_t at, float by) { add(items_[at], -by); }

private:
    void touch(std::int64_t item) {
        for (std::int64_t e = data_.item_users.indptr[item]; e < data_.item_users.indptr[item + 1]; ++e) {
            const std::int32_t user = data_.item_users.indices[e];
            if (!touched_[user]) users_.push_back(user);
            touched_[user] = 1;
        }
    }

    void add(std::int64_t item, float times) {
        const Csr& x = data_.item_users;
        for (std::int64_t e = x.indptr[item]; e < x.indptr[item + 1]; ++e) {
            residual_[x.indices[e]] += times * x.values[e];
        }
    }

    float along(std::int64_t item) const {  // four sums, so that additions need not wait for each other
        const Csr& x = data_.item_users;
        const std::int64_t end = x.indptr[item + 1];
        float sums[4] = {};
        std::int64_t e = x.indptr[item];
        for (; e + 4 <= end; e += 4) {
            for (int i = 0; i < 4; ++i) sums[i] += residual_[x.indices[e + i]] * x.values[e + i];
        }
        for (int i = 0; e < end; ++e, ++i) sums[i] += residual_[x.indices[e]] * x.values[e];
        return (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }

    void spread() {
        const Csr& x = data_.user_items;
        ++now_;
        reached_.clear();
        for (const std::int32_t user : users_) {
            const float residual = residual_[user];
            if (residual == 0) continue;
            for (std::int64_t e = x.indptr[user]; e < x.indptr[user + 1]; ++e) {
                const std::int32_t i = x.indices[e];
                if (known_[i] != now_) {
                    known_[i] = now_;
                    all_[i] = 0;
                    reached_.push_back(i);
                }
                all_[i] += residual * x.values[e];
            }
        }
    }

    const SlimData& data_;
    std::int64_t column_ = 0;
    std::vector<float> residual_;       // of every user
    std::vector<std::int8_t> touched_;  // whether a user is in users_: those of the column and of the items at work
    std::vector<std::int32_t> users_, reached_, items_;
    std::vector<float> all_;
    std::vector<std::int64_t> known_;  // the spread() or take_all() that an item's all_ is of
    std::int64_t now_ = 0;
    std::vector<std::int8_t> held_;
};

}  // namespace cofactor
