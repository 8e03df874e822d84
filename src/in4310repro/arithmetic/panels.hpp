// Products of small matrices in the cache.

#pragma once

#include "convolution.hpp"

namespace arithmetic {

// Values in steps: value k of row p at data + p row + k step.
struct Strided {
    const float *data;
    ptrdiff_t row, step;
};

// to[p][v], of P rows and V vectors, is the chain from 0 of its parts, added to what it is if `go_on`; a part is the chain
// from 0 of fused products of some steps.
template <int P, int V>
void panel(const Strided &left, const float *right, ptrdiff_t right_step, ptrdiff_t steps, ptrdiff_t part, float *to,
           ptrdiff_t to_row, bool go_on) {
    Floats total[P][V] = {};
    const float *x = left.data, *w = right;
    for (ptrdiff_t begin = 0; begin < steps; begin += part) {
        Floats sums[P][V] = {};
#pragma GCC unroll 4
        for (ptrdiff_t k = std::min(part, steps - begin); k; k--) {
            Floats wide[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) wide[v] = load<Floats>(w + v * FLOATS);
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) {
                Floats value = broadcast(x[p * left.row]);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[p][v] = fma(value, wide[v], sums[p][v]);
            }
            x += left.step, w += right_step;
        }
#pragma GCC unroll 8
        for (int p = 0; p < P; p++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) total[p][v] += sums[p][v];
    }
#pragma GCC unroll 8
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            float *at = to + p * to_row + v * FLOATS;
            store(at, go_on ? load<Floats>(at) + total[p][v] : total[p][v]);
        }
}

// Of any number of rows.
template <int V>
void panels(Strided left, ptrdiff_t rows, const float *right, ptrdiff_t right_step, ptrdiff_t steps, ptrdiff_t part,
            float *to, ptrdiff_t to_row, bool go_on) {
    auto go = [&](auto number) {
        constexpr int P = decltype(number)::value;
        for (; rows >= P; rows -= P, left.data += P * left.row, to += P * to_row)
            panel<P, V>(left, right, right_step, steps, part, to, to_row, go_on);
    };
    go(std::integral_constant<int, TILE<V>>{});
    go(std::integral_constant<int, 2>{});
    go(std::integral_constant<int, 1>{});
}

// Of up to VECTORS vectors.
inline void panels(const Strided &left, ptrdiff_t rows, const float *right, ptrdiff_t right_step, ptrdiff_t vectors,
                   ptrdiff_t steps, ptrdiff_t part, float *to, ptrdiff_t to_row, bool go_on) {
    constexpr int THREE = std::min(3, VECTORS);
    static constexpr decltype(&panels<1>) all[] = {panels<1>, panels<2>, panels<THREE>, panels<VECTORS>};
    all[vectors - 1](left, rows, right, right_step, steps, part, to, to_row, go_on);
}

}  // namespace arithmetic
