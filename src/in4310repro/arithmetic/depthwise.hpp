// Depth-wise convolutions: each channel of the result is a chain of fused products over the taps inside of the map.

#pragma once

#include "pass.hpp"

namespace arithmetic {

// A depth-wise convolution, whose weights are [tap][channel].
struct DepthwisePass {
    Pass pass;
    const float *weights;
    std::vector<Span> columns = spans(pass.columns, pass.left, pass.stride_x, pass.kernel_width, pass.width);
};

// C results side by side in a row, which have the same taps, and V vectors of channels.
template <int C, int V>
[[gnu::always_inline]] inline void depthwise_tile(const Pass &pass, const Span &y, const Span &x, const float *from,
                                                  float *to, const float *weights, ptrdiff_t channel, ptrdiff_t lanes) {
    Floats sums[C][V];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++)
            sums[c][v] = pass.bias ? load_lanes(pass.bias + channel + v * FLOATS, lanes) : Floats{};
    for (ptrdiff_t a = 0; a < y.taps; a++) {
        const float *map = from + a * pass.width * pass.channels + channel;
        const float *weight = weights + ((y.tap + a) * pass.kernel_width + x.tap) * pass.groups + channel;
        for (ptrdiff_t b = 0; b < x.taps; b++, map += pass.channels, weight += pass.groups)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                Floats w = load_lanes(weight + v * FLOATS, lanes);
#pragma GCC unroll 4
                for (int c = 0; c < C; c++)
                    sums[c][v] = fma(load_lanes(map + c * pass.stride_x * pass.channels + v * FLOATS, lanes), w, sums[c][v]);
            }
    }
#pragma GCC unroll 4
    for (int c = 0; c < C; c++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store_lanes(to + c * pass.column_step + channel + v * FLOATS, sums[c][v], lanes);
}

// All channels of C results; V is such that there are chains enough to hide how long a product takes.
template <int C, int V>
void depthwise_results(const Pass &pass, const Span &y, const Span &x, const float *from, float *to, const float *weights) {
    ptrdiff_t whole = V == 1 ? 0 : pass.groups / (V * FLOATS) * (V * FLOATS);
    for (ptrdiff_t channel = 0; channel < whole; channel += V * FLOATS)
        depthwise_tile<C, V>(pass, y, x, from, to, weights, channel, FLOATS);
    each_vector(pass.groups, [&](ptrdiff_t channel, ptrdiff_t lanes) __attribute__((always_inline)) {
        if (channel + lanes > whole) depthwise_tile<C, 1>(pass, y, x, from, to, weights, channel, lanes);
    });
}

inline void depthwise_row(const DepthwisePass &depthwise, ptrdiff_t image, ptrdiff_t row) {
    const Pass &pass = depthwise.pass;
    const ptrdiff_t top = pass.top + row * pass.stride_y;
    const Span y = span_of(row, pass.top, pass.stride_y, pass.kernel_height, pass.height);
    // What the next row of results needs more, in the order of memory: the results read it in another.
    ptrdiff_t next = std::max<ptrdiff_t>(0, top + pass.kernel_height), ahead = std::min(pass.stride_y, pass.height - next);
    for (ptrdiff_t i = 0; i < ahead * pass.width * pass.channels; i += FLOATS)
        __builtin_prefetch(pass.from(image, next, 0) + i, 0, 2);
    for (const Span &x : depthwise.columns)
        for (ptrdiff_t column = x.begin, end = x.begin + x.number, step; column < end; column += step) {
            step = column + 4 <= end ? 4 : 1;
            const float *from = pass.from(image, top + y.tap, pass.left + column * pass.stride_x + x.tap);
            (step == 4 ? depthwise_results<4, 1> : depthwise_results<1, 3>)(pass, y, x, from, pass.to(image, row, column),
                                                                           depthwise.weights);
            if (pass.norm)
                follow(pass, step, [&](ptrdiff_t c) { return pass.to(image, row, column + c); }, 0, pass.groups);
        }
}

// Passes over the same images, row by row of all, so that what they write side by side is in the cache together.
inline void run_depthwise(ptrdiff_t threads, const std::vector<DepthwisePass> &passes) {
    const ptrdiff_t images = passes[0].pass.images, rows = passes[0].pass.rows;  // no other has more
    const ptrdiff_t wanted = 8 * std::max<ptrdiff_t>(1, threads);  // items
    const ptrdiff_t band = std::clamp<ptrdiff_t>(images * rows / wanted, 1, 8), bands = (rows + band - 1) / band;
    parallel(int(threads), images * bands, [&](ptrdiff_t item, int) {
        for (ptrdiff_t row = item % bands * band, end = std::min(rows, row + band); row < end; row++)
            for (const DepthwisePass &depthwise : passes)
                if (row < depthwise.pass.rows) depthwise_row(depthwise, item / bands, row);
    });
}

}  // namespace arithmetic
