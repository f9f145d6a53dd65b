// The conditional distribution of one coordinate, and draws from it that are a function of where it is.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/normal.hpp"

namespace cofactor {

// The conditional of one coordinate with value v whose derivatives h and residuals e, at v, have the sums `hh` of h h
// and `he` of h e: normal, by a prior of its own.
struct Conditional {
    double mean, precision;

    Conditional(double v, double hh, double he, double noise_precision, double prior_mean, double prior_precision)
        : mean(v), precision(noise_precision * hh + prior_precision) {
        if (precision > 0.0)  // else nothing is known: it stays
            mean = (noise_precision * (he + v * hh) + prior_mean * prior_precision) / precision;
    }

    float draw(std::uint64_t seed, std::uint64_t place) const {
        return static_cast<float>(precision > 0.0 ? mean + normal(seed, place) / std::sqrt(precision) : mean);
    }
};

}  // namespace cofactor
