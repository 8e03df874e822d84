// Outputs of convolutions, and gradients by their maps, by fewer products.
//
// The map is cut into tiles. Each is turned into as many values a channel as the scheme has points; at each point, a tile's
// values of all channels are multiplied with the weights, and the sums are turned into the results of the tile. The sum at a
// point is the chain over units of 64 channels of chains from 0 over parts of 16. What lies outside of the map is 0.

#include "winograd.hpp"
#include "panels.hpp"
#include "transpose.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t PART = 16;    // steps of a part
constexpr ptrdiff_t TILES = 64;   // whose values and sums for a unit stay in the second cache
constexpr ptrdiff_t LARGE = 1 << 19;  // weights at all points that do not stay in a cache

// Of a unit of outputs and one of channels, as the products need them: [point][block of outputs][step][output].
template <typename S>
struct Weights {
    static constexpr ptrdiff_t POINT_STEP = UNIT * UNIT + APART, SIZE = S::POINTS * POINT_STEP;

    const Pass &pass;
    const Kernels &kernels;

    ptrdiff_t outputs(ptrdiff_t first) const { return std::min<ptrdiff_t>(BLOCK, pass.outputs() - first); }
    ptrdiff_t width(ptrdiff_t first) const { return rounded_up(outputs(first), FLOATS); }

    // Meanwhile what lies `ahead` of them, the next to be transformed, comes into the cache.
    void transform(ptrdiff_t first_output, ptrdiff_t first_step, ptrdiff_t ahead, float *to) const {
        constexpr ptrdiff_t STEPS = 16;
        alignas(64) float taps[9][STEPS * FLOATS];
        ptrdiff_t last_output = std::min(first_output + UNIT, pass.outputs());
        ptrdiff_t last_step = std::min(first_step + UNIT, pass.channels);
        for (ptrdiff_t output = first_output; output < last_output; output += FLOATS) {
            ptrdiff_t lanes = std::min<ptrdiff_t>(FLOATS, last_output - output);
            ptrdiff_t block = (output - first_output) / BLOCK * BLOCK, vector = output - first_output - block;
            ptrdiff_t wide = width(first_output + block);
            if (lanes < FLOATS) std::memset(taps, 0, sizeof taps);
            for (ptrdiff_t begin = first_step, end; begin < last_step; begin = end) {
                end = std::min(begin + STEPS, last_step);
                for (ptrdiff_t tap = 0; tap < 9; tap++) {
                    const float *from = kernels.at(tap, output, begin);
                    ptrdiff_t rows = kernels.output_step == 1 ? end - begin : lanes;
                    for (ptrdiff_t row = 0; row < rows; row++)
                        __builtin_prefetch(from + ahead + row * std::max(kernels.output_step, kernels.step_step), 0, 2);
                    if (kernels.output_step == 1)
                        for (ptrdiff_t step = begin; step < end; step++, from += kernels.step_step)
                            store_lanes(taps[tap] + (step - begin) * FLOATS, load_lanes(from, lanes), lanes);
                    else
                        transpose(from, kernels.output_step, lanes, end - begin, taps[tap], FLOATS);
                }
                for (ptrdiff_t step = begin; step < end; step++) {
                    Floats g[3][3];
                    Values<S> values;
#pragma GCC unroll 9
                    for (int tap = 0; tap < 9; tap++)
                        g[tap / 3][tap % 3] = load<Floats>(taps[tap] + (step - begin) * FLOATS);
                    S::weight(g, values.at);
                    values.store(to + block * UNIT + (step - first_step) * wide + vector, POINT_STEP);
                }
            }
        }
    }
};

// A tile's results of some outputs from its sums at all points; returns whether all are finite.
template <typename S>
bool transform_sums(const Tiles<S> &tiles, ptrdiff_t tile, ptrdiff_t output, ptrdiff_t number, const float *sums,
                    ptrdiff_t point_step) {
    constexpr int HIGH = S::Rows::GIVES, WIDE = S::Columns::GIVES;
    const Pass &pass = tiles.pass;
    const Corner corner = tiles.corner(tile);
    const int high = int(std::min<ptrdiff_t>(HIGH, pass.rows - corner.row));
    const int wide = int(std::min<ptrdiff_t>(WIDE, pass.columns - corner.column));
    auto to = [&](int i, int j) { return pass.to(corner.image, corner.row + i, corner.column + j); };
    Floats finite{};
    each_vector(number, [&](ptrdiff_t at, ptrdiff_t lanes) __attribute__((always_inline)) {
        Floats y[HIGH][WIDE];
        Values<S> values;
        values.load(sums + at, point_step);
        S::result(values.at, y);
        Floats bias = pass.bias ? load_lanes(pass.bias + output + at, lanes) : Floats{};
#pragma GCC unroll 8
        for (int i = 0; i < HIGH; i++)
#pragma GCC unroll 8
            for (int j = 0; j < WIDE; j++) {
                if (i >= high || j >= wide) continue;
                if (pass.bias) y[i][j] += bias;
                // 0 unless a value is infinite or NaN.
                finite = fma(y[i][j], Floats{}, finite);
                store_lanes(to(i, j) + output + at, y[i][j], lanes);
            }
    });
    for (int i = 0; pass.norm && i < high; i++)
        follow(pass, wide, [&](ptrdiff_t j) { return to(i, j); }, output, number);
    return were_finite(finite);
}

template <typename S>
int run(ptrdiff_t threads, const Pass &pass, const Kernels &kernels, unsigned char *again) {
    const Tiles<S> tiles{pass};
    const Weights<S> weights{pass, kernels};
    const ptrdiff_t outputs = pass.outputs(), of_outputs = units_of(outputs), of_channels = units_of(pass.channels);
    // Weights that fit into a cache are transformed once, others by whoever needs them.
    const bool once = S::POINTS * UNIT * UNIT * of_outputs * of_channels <= LARGE;
    // Items of about the same number of tiles, with all outputs or a share of them.
    const ptrdiff_t most = once ? TILES : 2 * TILES, wanted = threads > 1 ? 2 * threads : 1;
    const ptrdiff_t groups = (tiles.number() + most - 1) / most;
    const ptrdiff_t shares = std::clamp<ptrdiff_t>((wanted + groups - 1) / groups, 1, of_outputs);
    const ptrdiff_t size = rounded_up((tiles.number() + groups - 1) / groups, ROWS);
    const ptrdiff_t point_step = size * UNIT + APART, unit_step = S::POINTS * point_step;
    const ptrdiff_t space = (of_channels + 1) * unit_step + (once ? 0 : Weights<S>::SIZE);
    float *ready = scratch<float, 7>(once ? of_outputs * of_channels * Weights<S>::SIZE : 0);
    float *copies = scratch<float, 3>(std::max<ptrdiff_t>(1, threads) * space);
    float *zeros = scratch<float, 5>(rounded_up(pass.channels, FLOATS));
    if (!ready || !copies || !zeros) return NO_MEMORY;
    std::fill_n(zeros, pass.channels, 0.0f);
    auto transform = [&](ptrdiff_t pair, float *to) {
        auto first = [&](ptrdiff_t number) {
            return kernels.at(0, number / of_channels * UNIT, number % of_channels * UNIT);
        };
        weights.transform(pair / of_channels * UNIT, pair % of_channels * UNIT, first(pair + 1) - first(pair), to);
    };
    if (once)
        parallel(int(threads), of_outputs * of_channels,
                 [&](ptrdiff_t pair, int) { transform(pair, ready + pair * Weights<S>::SIZE); });
    parallel(int(threads), groups * shares, [&](ptrdiff_t item, int thread) {
        ptrdiff_t share = item % shares, group = item / shares;
        ptrdiff_t begin = std::min(group * size, tiles.number()), end = std::min(begin + size, tiles.number());
        float *sums = copies + thread * space, *values = sums + unit_step, *own = values + of_channels * unit_step;
        for (ptrdiff_t tile = begin; tile < end; tile++)
            transform_map(tiles, tile, 0, pass.channels, zeros, values + (tile - begin) * UNIT, unit_step, point_step);
        for (ptrdiff_t unit = of_outputs * share / shares; unit < of_outputs * (share + 1) / shares; unit++) {
            ptrdiff_t output = unit * UNIT, number = std::min(UNIT, outputs - output);
            for (ptrdiff_t other = 0; other < of_channels; other++) {
                ptrdiff_t pair = unit * of_channels + other, steps = std::min(UNIT, pass.channels - other * UNIT);
                const float *of_pair = once ? ready + pair * Weights<S>::SIZE : own;
                if (!once) transform(pair, own);
                for (int point = 0; point < S::POINTS; point++)
                    for (ptrdiff_t at = 0; at < number; at += BLOCK) {
                        ptrdiff_t width = weights.width(output + at);
                        panels({values + other * unit_step + point * point_step, UNIT, 1}, end - begin,
                               of_pair + point * Weights<S>::POINT_STEP + at * UNIT, width, width / FLOATS, steps, PART,
                               sums + point * point_step + at, UNIT, other > 0);
                    }
            }
            for (ptrdiff_t tile = begin; tile < end; tile++)
                if (!transform_sums(tiles, tile, output, number, sums + (tile - begin) * UNIT, point_step))
                    __atomic_store_n(again + tiles.corner(tile).image, 1, __ATOMIC_RELAXED);
        }
    });
    return DONE;
}

// Calls f with the method's scheme; for DIRECT not at all.
template <typename F>
void with_scheme(Method method, F &&f) {
    switch (method) {
        case DIRECT: break;
        case TWO_TWO: f(Scheme<Two, Two>()); break;
        case TWO_FOUR: f(Scheme<Two, Four>()); break;
        case PAIRS: f(Scheme<Pair, Pair>()); break;
        case FOUR_FOUR: f(Scheme<Four, Four>()); break;
    }
}

// Results along an axis, which look at `size` values from `start` on.
struct Axis {
    ptrdiff_t results, size, start;

    // Of three taps, those inside of the map.
    ptrdiff_t products() const {
        ptrdiff_t number = 0;
        for (ptrdiff_t tap = 0; tap < 3; tap++)
            number += std::max<ptrdiff_t>(0, std::min(results, size - start - tap) - std::max<ptrdiff_t>(0, -start - tap));
        return number;
    }
    template <typename S>
    ptrdiff_t by() const {
        return (results + S::GIVES - 1) / S::GIVES * S::POINTS;
    }
    bool is_pair() const { return results == 2 && size == 2 && start == -1; }
};

}  // namespace

int arithmetic::run_winograd(ptrdiff_t threads, Method method, const Pass &pass, const Kernels &kernels,
                             unsigned char *again) {
    int status = NONSENSE;
    with_scheme(method, [&](auto scheme) { status = run<decltype(scheme)>(threads, pass, kernels, again); });
    return status;
}

Method arithmetic::method_of(const Shape &s, Result result) {
    if (s.kernel_height != 3 || s.kernel_width != 3 || s.stride_y != 1 || s.stride_x != 1 || s.groups != 1) return DIRECT;
    auto axis_of = [result](ptrdiff_t results, ptrdiff_t size, ptrdiff_t padding) {
        return result == OF_MAPS ? Axis{size, results, padding - 2} : Axis{results, size, -padding};
    };
    const Axis y = axis_of(s.rows(), s.height, s.padding_top), x = axis_of(s.columns(), s.width, s.padding_left);
    const ptrdiff_t steps = result == OF_MAPS ? s.outputs : s.channels, others = s.channels + s.outputs - steps;
    // Below these numbers the mean error exceeds torch's, or there is nothing to gain: docs/kernel-errors.md.
    if (result == OF_WEIGHTS ? std::min(steps, others) < 64 || y.results * x.results < 64 : steps < 32 || others < 16)
        return DIRECT;
    Method best = TWO_TWO;
    ptrdiff_t fewest = y.by<Two>() * x.by<Two>();
    auto consider = [&](Method method, ptrdiff_t products) {
        if (products < fewest) best = method, fewest = products;
    };
    if (result != OF_WEIGHTS && y.is_pair() && x.is_pair()) consider(PAIRS, y.by<Pair>() * x.by<Pair>());
    if (result != OF_WEIGHTS && steps >= 64) consider(TWO_FOUR, y.by<Two>() * x.by<Four>());
    if (result != OF_WEIGHTS && steps >= 512) consider(FOUR_FOUR, y.by<Four>() * x.by<Four>());
    // Transforms take time as well.
    return 4 * fewest <= 3 * y.products() * x.products() ? best : DIRECT;
}

EXPORTED ptrdiff_t method(const Shape *shape, ptrdiff_t result) { return method_of(*shape, Result(result)); }
