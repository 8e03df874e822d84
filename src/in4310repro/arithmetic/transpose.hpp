// Squares of FLOATS x FLOATS values, transposed in registers.

#pragma once

#include "vectors.hpp"

#include <utility>

namespace arithmetic {

#if defined(__clang__)
#define SHUFFLED __builtin_shufflevector
#else  // which gcc has from 12 on
#define SHUFFLED(first, second, ...) __builtin_shuffle(first, second, Ints{__VA_ARGS__})
#endif

// Row i of the square becomes its column i: blocks of D x D change places, for D = half the width, ..., 2, 1.
template <int D, size_t... LANE>
[[gnu::always_inline]] inline void exchange(Floats square[FLOATS], std::index_sequence<LANE...>) {
#pragma GCC unroll 16
    for (int i = 0; i < FLOATS; i++)
        if (!(i & D)) {
            Floats upper = square[i], lower = square[i + D];
            square[i] = SHUFFLED(upper, lower, (LANE & D ? int(LANE) - D + FLOATS : int(LANE))...);
            square[i + D] = SHUFFLED(upper, lower, (LANE & D ? int(LANE) + FLOATS : int(LANE) + D)...);
        }
    if constexpr (D > 1) exchange<D / 2>(square, std::index_sequence<LANE...>{});
}
[[gnu::always_inline]] inline void transpose(Floats square[FLOATS]) {
    exchange<FLOATS / 2>(square, std::make_index_sequence<FLOATS>{});
}

// to[j * to_step + i] = from[i * from_step + j] for i below `rows` and j below `columns`.
inline void transpose(const float *from, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns, float *to,
                      ptrdiff_t to_step) {
    ptrdiff_t whole_rows = rows / FLOATS * FLOATS, whole_columns = columns / FLOATS * FLOATS;
    for (ptrdiff_t i = 0; i < whole_rows; i += FLOATS)
        for (ptrdiff_t j = 0; j < whole_columns; j += FLOATS) {
            Floats square[FLOATS];
#pragma GCC unroll 16
            for (int k = 0; k < FLOATS; k++) square[k] = load<Floats>(from + (i + k) * from_step + j);
            transpose(square);
#pragma GCC unroll 16
            for (int k = 0; k < FLOATS; k++) store(to + (j + k) * to_step + i, square[k]);
        }
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            to[j * to_step + i] = from[i * from_step + j];
}

}  // namespace arithmetic
