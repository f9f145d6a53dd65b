// What a pair of scores loses. Number: float, or a vector of them.
#pragma once

#include "core/exp.hpp"
#include "sgd/pairwise.hpp"

namespace cofactor {

// log(1 + e^-x), and 1 / (1 + e^x), which is how fast it falls.
template <class Number>
struct Softplus {
    Number loss, slope;

    [[gnu::always_inline]] explicit Softplus(Number x) {
        const Number e = exp(x < 0.0f ? x : -x), share = 1.0f / (1.0f + e);
        // log(1 + e) = 2 artanh(t), t <= 1/3, by its series to t^13 / 13.
        const Number t = e / (2.0f + e), t2 = t * t;
        Number series = t2 * (1.0f / 13) + 1.0f / 11;
        for (int n = 9; n > 0; n -= 2) series = series * t2 + 1.0f / static_cast<float>(n);
        loss = 2.0f * t * series - (x < 0.0f ? x : Number{});
        slope = x < 0.0f ? share : e * share;
    }
};

// Of a positive that scores so much more than a negative, by all losses but the logistic one, and how fast it falls.
template <class Number>
struct PairTerm {
    Number loss, slope;

    [[gnu::always_inline]] PairTerm(const Pairwise& options, Number ahead) {
        if (options.loss == PairLoss::bpr) {
            const Softplus behind(ahead);
            loss = behind.loss, slope = behind.slope;
        } else {
            const Number behind = options.margin - ahead, none{};
            loss = behind <= none ? none : behind;  // NaN stays
            slope = behind <= none ? none : none + 1.0f;
        }
    }
};

}  // namespace cofactor
