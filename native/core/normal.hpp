// Draws from the standard normal distribution.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "core/random.hpp"

namespace cofactor {

// Two independent standard normal numbers (Box & Muller 1958): the next two of a sequence make them.
class NormalPair {
public:
    explicit NormalPair(Random& random) {
        const double u = static_cast<double>((random.next() >> 11) + 1) * 0x1p-53;  // above 0
        length_ = std::sqrt(-2.0 * std::log(u));
        angle_ = 2.0 * std::numbers::pi * (static_cast<double>(random.next() >> 11) * 0x1p-53);
    }

    double first() const { return length_ * std::cos(angle_); }
    double second() const { return length_ * std::sin(angle_); }

private:
    double length_, angle_;
};

// A standard normal number, the same for the same seed and place.
inline double normal(std::uint64_t seed, std::uint64_t place) {
    Random random(seed, place);
    return NormalPair(random).first();
}

}  // namespace cofactor
