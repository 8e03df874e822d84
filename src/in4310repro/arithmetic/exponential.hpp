// exp and log of doubles as fixed polynomials: libm's differ between systems and processors.

#pragma once

#include "vectors.hpp"

namespace arithmetic {

// exp(x) for x <= 0, to 2e-16 of it; below -700 it is exp(-700), which no float and no sum with 1 tells from 0.
//
// k = x / ln 2, rounded to nearest by adding and subtracting 1.5 * 2^52; r = x - k ln 2 in two parts of ln 2 (Cody and
// Waite 1980); exp(r) by Taylor's series to r^13, |r| <= ln 2 / 2, by Horner's rule; times 2^k. nan stays nan.
inline double exponential(double x) {
    constexpr double SHIFT = 0x1.8p52, LOG2E = 0x1.71547652b82fep0, HIGH = 0x1.62e42fefa0000p-1,
                     LOW = 0x1.cf79abc9e3b3ap-40;
    constexpr double SERIES[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                 1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,
                                 1.0 / 6,          0.5,             1.0,            1.0};
    if (x != x) return x;
    x = x < -700 ? -700 : x;
    double shifted = arithmetic::fma(x, LOG2E, SHIFT), k = shifted - SHIFT;
    double r = arithmetic::fma(-k, LOW, arithmetic::fma(-k, HIGH, x));
    double value = SERIES[0];
    for (int power = 1; power < 14; power++) value = arithmetic::fma(value, r, SERIES[power]);
    int64_t bits = (int64_t(k) + 1023) << 52;
    double scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return value * scale;
}

// log(x) of a normal x > 0, to 3e-16 of it or of 1.
//
// x = 2^k m with m in [0.75, 1.5); s = (m - 1) / (m + 1); log m = 2 s (1 + s^2 / 3 + s^4 / 5 + ... + s^22 / 23) by
// Horner's rule; plus k ln 2. nan and infinity stay what they are.
inline double logarithm(double x) {
    constexpr double LN2 = 0x1.62e42fefa39efp-1;
    if (!(x < HUGE_VAL)) return x;
    int64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    int64_t k = (bits - 0x3fe8000000000000) >> 52;
    bits -= k << 52;
    double m;
    std::memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), square = s * s, value = 1.0 / 23;
    for (int odd = 21; odd > 0; odd -= 2) value = arithmetic::fma(value, square, 1.0 / odd);
    return arithmetic::fma(double(k), LN2, 2 * s * value);
}

}  // namespace arithmetic
