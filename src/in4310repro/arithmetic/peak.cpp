// The rate of fused products that a processor reaches, for a table to hold kernels against.

#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

// Chains that do not wait for each other: enough of them for the latency of a fused product.
constexpr int CHAINS = 12;

EXPORTED ptrdiff_t fused_operations(ptrdiff_t rounds, float *sink) {
    Floats sums[CHAINS], factor = broadcast(0.5f), one = broadcast(1.0f);
    for (int chain = 0; chain < CHAINS; chain++) sums[chain] = broadcast(float(chain));
    for (ptrdiff_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++) sums[chain] = fma(sums[chain], factor, one);
    for (int chain = 1; chain < CHAINS; chain++) sums[0] = sums[0] + sums[chain];
    *sink = sums[0][0];
    return 2 * rounds * CHAINS * FLOATS;
}
