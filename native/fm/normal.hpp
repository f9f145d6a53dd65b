// Draws from normal distributions that are a function of where they are used.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "core/random.hpp"

namespace cofactor {

// A standard normal number (Box & Muller 1958), the same for the same seed and place.
inline double normal(std::uint64_t seed, std::uint64_t place) {
    Random random(seed, place);
    const double u = static_cast<double>((random.next() >> 11) + 1) * 0x1p-53;  // above 0
    const double turn = static_cast<double>(random.next() >> 11) * 0x1p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * turn);
}

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
