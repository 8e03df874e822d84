// Convolutions of 3 x 3 weights and stride 1 by fewer products; see transforms.hpp and docs/arithmetic.md.

#pragma once

#include "pass.hpp"
#include "transforms.hpp"

namespace arithmetic {

enum Result : int { OUTPUT = 0, OF_MAPS = 1, OF_WEIGHTS = 2 };
// How it is computed: by its definition, or by the schemes along rows and along columns.
enum Method : int { DIRECT = 0, TWO_TWO = 1, TWO_FOUR = 2, PAIRS = 3, FOUR_FOUR = 4 };

// By the sizes of a layer alone: neither the batch nor the processor may change it.
Method method_of(const Shape &shape, Result result);

// Where value (step, output) of a kernel of weights begins: weights + output x output_step + step x step_step + tap x
// tap_step, its taps in their order or backwards. One of both steps is 1.
struct Kernels {
    const float *weights;
    ptrdiff_t output_step, step_step, tap_step;
    bool backwards;

    const float *at(ptrdiff_t tap, ptrdiff_t output, ptrdiff_t step) const {
        return weights + (backwards ? 8 - tap : tap) * tap_step + output * output_step + step * step_step;
    }
};

constexpr ptrdiff_t UNIT = 64;   // outputs, and channels, that are multiplied at a time
constexpr ptrdiff_t APART = 16;  // values between what is written side by side: not all in the same set of the cache

inline ptrdiff_t rounded_up(ptrdiff_t number, ptrdiff_t unit) { return (number + unit - 1) / unit * unit; }
inline ptrdiff_t units_of(ptrdiff_t number) { return (number + UNIT - 1) / UNIT; }

// Whether all values are finite of which `products` are the sums of products with 0.
inline bool were_finite(Floats products) {
    float sum = 0;
    for (int lane = 0; lane < FLOATS; lane++) sum += products[lane];
    return sum == 0;
}

// The first result of a tile.
struct Corner {
    ptrdiff_t image, row, column;
};

// The tiles of all images.
template <typename S>
struct Tiles {
    const Pass &pass;
    ptrdiff_t down = (pass.rows + S::Rows::GIVES - 1) / S::Rows::GIVES;
    ptrdiff_t across = (pass.columns + S::Columns::GIVES - 1) / S::Columns::GIVES;

    ptrdiff_t number() const { return pass.images * down * across; }
    Corner corner(ptrdiff_t tile) const {
        return {tile / across / down, tile / across % down * S::Rows::GIVES, tile % across * S::Columns::GIVES};
    }
};

// Values of a tile as matrices of rows and columns, and as all points one after the other.
template <typename S>
struct Values {
    Floats at[S::Rows::POINTS][S::Columns::POINTS];

    [[gnu::always_inline]] void load(const float *from, ptrdiff_t point_step) {
#pragma GCC unroll 24
        for (int p = 0; p < S::POINTS; p++)
            at[p / S::Columns::POINTS][p % S::Columns::POINTS] = arithmetic::load<Floats>(from + p * point_step);
    }
    [[gnu::always_inline]] void store(float *to, ptrdiff_t point_step) const {
#pragma GCC unroll 24
        for (int p = 0; p < S::POINTS; p++)
            arithmetic::store(to + p * point_step, at[p / S::Columns::POINTS][p % S::Columns::POINTS]);
    }
};

// A tile's values of `number` channels from `first` on: to + unit x unit_step + point x point_step, a last vector filled
// with zeros. Outside of the map are `zeros`, as many as there are channels.
template <typename S>
void transform_map(const Tiles<S> &tiles, ptrdiff_t tile, ptrdiff_t first, ptrdiff_t number, const float *zeros, float *to,
                   ptrdiff_t unit_step, ptrdiff_t point_step) {
    constexpr int HIGH = S::Rows::TAKES, WIDE = S::Columns::TAKES;
    const Pass &pass = tiles.pass;
    const Corner corner = tiles.corner(tile);
    const ptrdiff_t top = pass.top + S::Rows::SKIPS + corner.row, left = pass.left + S::Columns::SKIPS + corner.column;
    const float *from[HIGH][WIDE];
    for (ptrdiff_t i = 0; i < HIGH; i++) {
        bool inside = top + i >= 0 && top + i < pass.height;
        const float *row = inside ? pass.from(corner.image, top + i, 0) + first : nullptr;
        for (ptrdiff_t j = 0; j < WIDE; j++)
            from[i][j] = inside && left + j >= 0 && left + j < pass.width ? row + (left + j) * pass.channels : zeros;
    }
    auto go = [&](ptrdiff_t channel, ptrdiff_t lanes) __attribute__((always_inline)) {
        Floats d[HIGH][WIDE];
        Values<S> values;
#pragma GCC unroll 8
        for (int i = 0; i < HIGH; i++)
#pragma GCC unroll 8
            for (int j = 0; j < WIDE; j++) d[i][j] = load_lanes(from[i][j] + channel, lanes);
        // What the next tile needs beside it.
#pragma GCC unroll 8
        for (int i = 0; i < HIGH; i++)
#pragma GCC unroll 8
            for (int j = WIDE - S::Columns::GIVES; j < WIDE; j++)
                __builtin_prefetch(from[i][j] + channel + S::Columns::GIVES * pass.channels);
        S::map(d, values.at);
        values.store(to + channel / UNIT * unit_step + channel % UNIT, point_step);
    };
    ptrdiff_t channel = 0;
    for (; channel + FLOATS <= number; channel += FLOATS) go(channel, FLOATS);
    if (channel < number) go(channel, number - channel);
}

// A whole pass by a method other than DIRECT. Images some results of which are not finite are set in `again`, one byte an
// image, which must be 0 before: they are to be computed by definition, which gives what IEEE's arithmetic says.
int run_winograd(ptrdiff_t threads, Method method, const Pass &pass, const Kernels &kernels, unsigned char *again);

// The gradient of all weights by TWO_TWO likewise; `again` has a byte a leaf. The images are a batch or a node of one.
int run_winograd_weights(ptrdiff_t threads, const Shape &shape, const float *maps, const float *gradient, float *result,
                         unsigned char *again);

}  // namespace arithmetic
