// Convolutions of three taps by fewer products (Winograd 1980; Lavin and Gray 2016), along one axis and along both.
//
// A scheme turns the TAKES values of a map that its GIVES results see, less SKIPS in front, into POINTS values, three weights
// into as many, and the products of both, point by point, into the results. Backwards, Two turns its GIVES values of a
// gradient into POINTS, and the sums of their products with those of the map into the gradient of the three weights.
// docs/arithmetic.md has the formulas; all are linear.

#pragma once

#include "vectors.hpp"

namespace arithmetic {

// Two results of four values by four products: points 0, 1, -1 and infinity.
struct Two {
    static constexpr int POINTS = 4, TAKES = 4, SKIPS = 0, GIVES = 2;

    [[gnu::always_inline]] static void map(const Floats *d, Floats *v) {
        v[0] = d[0] - d[2], v[1] = d[1] + d[2], v[2] = d[2] - d[1], v[3] = d[1] - d[3];
    }
    [[gnu::always_inline]] static void weight(const Floats *g, Floats *u) {
        Floats even = g[0] + g[2];
        u[0] = g[0], u[1] = 0.5f * (even + g[1]), u[2] = 0.5f * (even - g[1]), u[3] = g[2];
    }
    [[gnu::always_inline]] static void result(const Floats *m, Floats *y) {
        y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2] - m[3];
    }
    [[gnu::always_inline]] static void gradient(const Floats *y, Floats *m) {
        m[0] = y[0], m[1] = y[0] + y[1], m[2] = y[0] - y[1], m[3] = -y[1];
    }
    [[gnu::always_inline]] static void weight_gradient(const Floats *u, Floats *g) {
        g[0] = fma(broadcast(0.5f), u[1] + u[2], u[0]), g[1] = 0.5f * (u[1] - u[2]);
        g[2] = fma(broadcast(0.5f), u[1] + u[2], u[3]);
    }
};

// Four results of six values by six products: points 0, 5/8, -5/8, 3/2, -3/2 and infinity, which had the smallest error.
struct Four {
    static constexpr int POINTS = 6, TAKES = 6, SKIPS = 0, GIVES = 4;
    static constexpr float A = 0.625f, B = 1.5f, AA = A * A, BB = B * B;
    // One over the product of a point's distances to the others: 64 / 225, and for 5/8 and 3/2.
    static constexpr float AT_0 = 1 / (AA * BB), AT_A = 1 / (2 * AA * (AA - BB)), AT_B = 1 / (2 * BB * (BB - AA));

    [[gnu::always_inline]] static Floats times(float factor, Floats value, Floats sum) {
        return fma(broadcast(factor), value, sum);
    }
    [[gnu::always_inline]] static void map(const Floats *d, Floats *v) {
        Floats even_a = times(-BB, d[2], d[4]), odd_a = times(-BB, d[1], d[3]);
        Floats even_b = times(-AA, d[2], d[4]), odd_b = times(-AA, d[1], d[3]);
        v[0] = times(AA * BB, d[0], times(-(AA + BB), d[2], d[4]));
        v[1] = times(A, odd_a, even_a), v[2] = times(-A, odd_a, even_a);
        v[3] = times(B, odd_b, even_b), v[4] = times(-B, odd_b, even_b);
        v[5] = times(AA * BB, d[1], times(-(AA + BB), d[3], d[5]));
    }
    [[gnu::always_inline]] static void weight(const Floats *g, Floats *u) {
        Floats even_a = times(AA, g[2], g[0]), even_b = times(BB, g[2], g[0]);
        u[0] = AT_0 * g[0];
        u[1] = AT_A * times(A, g[1], even_a), u[2] = AT_A * times(-A, g[1], even_a);
        u[3] = AT_B * times(B, g[1], even_b), u[4] = AT_B * times(-B, g[1], even_b);
        u[5] = g[2];
    }
    [[gnu::always_inline]] static void result(const Floats *m, Floats *y) {
        Floats even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
        y[0] = m[0] + even_a + even_b;
        y[1] = times(B, odd_b, A * odd_a);
        y[2] = times(BB, even_b, AA * even_a);
        y[3] = times(BB * B, odd_b, times(AA * A, odd_a, m[5]));
    }
};

// Both results of a map of two values with a margin of one, by three products.
struct Pair {
    static constexpr int POINTS = 3, TAKES = 2, SKIPS = 1, GIVES = 2;

    [[gnu::always_inline]] static void map(const Floats *d, Floats *v) { v[0] = d[0] + d[1], v[1] = d[1], v[2] = d[0]; }
    [[gnu::always_inline]] static void weight(const Floats *g, Floats *u) {
        u[0] = g[1], u[1] = g[2] - g[1], u[2] = g[0] - g[1];
    }
    [[gnu::always_inline]] static void result(const Floats *m, Floats *y) { y[0] = m[0] + m[1], y[1] = m[0] + m[2]; }
};

// A function along the columns of all rows, then another along the rows.
template <int A, int B, int M, int N, typename Columns, typename Rows>
[[gnu::always_inline]] inline void along_both(const Floats (&from)[A][B], Floats (&to)[M][N], Columns &&columns,
                                              Rows &&rows) {
    Floats half[A][N];
#pragma GCC unroll 8
    for (int i = 0; i < A; i++) columns(from[i], half[i]);
#pragma GCC unroll 8
    for (int j = 0; j < N; j++) {
        Floats in[A], out[M];
#pragma GCC unroll 8
        for (int i = 0; i < A; i++) in[i] = half[i][j];
        rows(in, out);
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) to[i][j] = out[i];
    }
}

// Of the schemes Y along rows (from one row to the next) and X along columns.
template <typename Y, typename X>
struct Scheme {
    typedef Y Rows;
    typedef X Columns;
    static constexpr int POINTS = Y::POINTS * X::POINTS;

    [[gnu::always_inline]] static void map(const Floats (&d)[Y::TAKES][X::TAKES], Floats (&v)[Y::POINTS][X::POINTS]) {
        along_both(d, v, X::map, Y::map);
    }
    [[gnu::always_inline]] static void weight(const Floats (&g)[3][3], Floats (&u)[Y::POINTS][X::POINTS]) {
        along_both(g, u, X::weight, Y::weight);
    }
    [[gnu::always_inline]] static void result(const Floats (&m)[Y::POINTS][X::POINTS], Floats (&y)[Y::GIVES][X::GIVES]) {
        along_both(m, y, X::result, Y::result);
    }
    [[gnu::always_inline]] static void gradient(const Floats (&y)[Y::GIVES][X::GIVES],
                                                Floats (&m)[Y::POINTS][X::POINTS]) {
        along_both(y, m, X::gradient, Y::gradient);
    }
    [[gnu::always_inline]] static void weight_gradient(const Floats (&u)[Y::POINTS][X::POINTS], Floats (&g)[3][3]) {
        along_both(u, g, X::weight_gradient, Y::weight_gradient);
    }
};

}  // namespace arithmetic
