// Convolution of float32 maps in channels_last memory, and its gradient by the maps.
//
// Each result is a sum over kernel row, kernel column and channel, in segments of 128 steps and parts of some of them: a
// part is a chain of fused products from zero, a segment the chain of its parts from zero, the first from the bias;
// segments are added in order. Sums of few steps are chains in float64 instead, rounded once. Taps outside of the map take
// no part. docs/arithmetic.md has the formulas.

#include "pass.hpp"
#include "transpose.hpp"
#include "winograd.hpp"

#include <exception>

using namespace arithmetic;

namespace {

constexpr ptrdiff_t STEPS = 128;  // of a segment; its weights stay in the cache while positions pass
constexpr ptrdiff_t FEW = 32;     // steps: oneDNN may cut them in a better place than any rule
constexpr ptrdiff_t POSITIONS = 96;
constexpr ptrdiff_t SMALL = 1 << 16;  // weights

// Products of values side by side in memory: where they begin behind a position's first, at which step of the chain.
struct Run {
    ptrdiff_t offset, step, length;
};

typedef std::vector<Run> Part;
typedef std::vector<Part> Segment;

// Positions with the same taps, and what their sums are made of.
struct Region {
    Span y, x;
    std::vector<Segment> segments;

    Region(const Pass &pass, const Span &y, const Span &x) : y(y), x(x), segments(1) {
        const ptrdiff_t size = part_of(pass.chain());
        ptrdiff_t last = -1, taps = pass.groups == 1 && x.taps ? x.taps : 1;
        for (ptrdiff_t row = 0; row < y.taps; row++)
            for (ptrdiff_t column = 0; column < x.taps; column += taps) {
                ptrdiff_t offset = (row * pass.width + column) * pass.channels, length = taps * pass.group_channels;
                ptrdiff_t step = ((y.tap + row) * pass.kernel_width + x.tap + column) * pass.group_channels;
                while (length) {
                    ptrdiff_t part = step / size, number = std::min((part + 1) * size - step, length);
                    if (last >= 0 && part * size / STEPS != last * size / STEPS) segments.emplace_back();
                    if (part != last) segments.back().emplace_back();
                    segments.back().back().push_back({offset, step, number});
                    offset += number, step += number, length -= number, last = part;
                }
            }
    }
    ptrdiff_t positions(const Pass &pass) const { return pass.images * y.number * x.number; }
};

struct Position {
    const float *from;
    float *to;
};

// Those of a region from number `first` on.
void find_positions(const Pass &pass, const Region &region, ptrdiff_t first, ptrdiff_t number, Position *to) {
    ptrdiff_t column = first % region.x.number, rest = first / region.x.number;
    ptrdiff_t row = rest % region.y.number, image = rest / region.y.number;
    for (ptrdiff_t p = 0; p < number; p++) {
        to[p] = {pass.from(image, pass.top + (region.y.begin + row) * pass.stride_y + region.y.tap,
                           pass.left + (region.x.begin + column) * pass.stride_x + region.x.tap),
                 pass.to(image, region.y.begin + row, region.x.begin + column)};
        if (++column < region.x.number) continue;
        column = 0;
        if (++row == region.y.number) row = 0, image++;
    }
}

// What is computed at a time: some positions of a region, one block of outputs.
struct Piece {
    ptrdiff_t region, first, number;
};

// Continues the chains of P positions and V vectors of outputs by the products of a run.
template <int P, int V>
[[gnu::always_inline]] inline void continue_chains(Floats (&sums)[P][V], const float *const *from, const Run &run,
                                                   const float *weights) {
    const float *rows[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) rows[p] = from[p] + run.offset;
    weights += run.step * V * FLOATS;
    auto step = [&](ptrdiff_t k) __attribute__((always_inline)) {
        Floats w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) w[v] = load<Floats>(weights + v * FLOATS);
#pragma GCC unroll 8
        for (int p = 0; p < P; p++) {
            Floats x = broadcast(rows[p][k]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[p][v] = fma(x, w[v], sums[p][v]);
        }
        weights += V * FLOATS;
    };
#pragma GCC unroll 4
    for (ptrdiff_t k = 0; k < run.length; k++) step(k);
}

// One segment of P positions and one block of outputs: V vectors, the last with `lanes` values.
template <int P, int V>
void tile(const Position *positions, ptrdiff_t channel, ptrdiff_t output, ptrdiff_t lanes, const float *weights,
          const Segment &segment, bool first, const float *bias) {
    const float *from[P];
    Floats total[P][V];
    auto get = [=](const float *at, int v) {
        return v < V - 1 || lanes == FLOATS ? load<Floats>(at + v * FLOATS) : load<Floats>(at + v * FLOATS, lanes);
    };
    for (int p = 0; p < P; p++) {
        from[p] = positions[p].from + channel;
        for (int v = 0; v < V; v++) total[p][v] = first && bias ? get(bias + output, v) : Floats{};
    }
    for (const Part &part : segment) {
        Floats sums[P][V] = {};
        for (const Run &run : part) continue_chains<P, V>(sums, from, run, weights);
#pragma GCC unroll 8
        for (int p = 0; p < P; p++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) total[p][v] += sums[p][v];
    }
    for (int p = 0; p < P; p++)
        for (int v = 0; v < V; v++) {
            float *at = positions[p].to + output + v * FLOATS;
            if (!first) total[p][v] = get(positions[p].to + output, v) + total[p][v];
            v < V - 1 || lanes == FLOATS ? store(at, total[p][v]) : store(at, total[p][v], lanes);
        }
}

// Vectors of outputs of a short tile: a sum in double takes two registers.
constexpr int SHORT = REGISTERS == 32 ? 2 : 1;

// All of a sum of few steps, likewise; a product of two float32 is exact in float64. The weights of a step are `width`
// values.
template <int P, int V>
void short_tile(const Position *positions, ptrdiff_t channel, ptrdiff_t output, ptrdiff_t lanes, const double *weights,
                ptrdiff_t width, const Segment &segment, const float *bias) {
    Doubles total[P][2 * V];
    auto cut = [=](int v) { return v < V - 1 ? ptrdiff_t(FLOATS) : lanes; };
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
        Wide start(bias ? load_lanes(bias + output + v * FLOATS, cut(v)) : Floats{});
#pragma GCC unroll 8
        for (int p = 0; p < P; p++) total[p][2 * v] = start.lower, total[p][2 * v + 1] = start.upper;
    }
    for (const Part &part : segment)
        for (const Run &run : part) {
            const float *from[P];
#pragma GCC unroll 8
            for (int p = 0; p < P; p++) from[p] = positions[p].from + channel + run.offset;
            const double *w = weights + run.step * width;
            for (ptrdiff_t k = 0; k < run.length; k++, w += width) {
                Doubles wide[2 * V];
#pragma GCC unroll 4
                for (int v = 0; v < 2 * V; v++) wide[v] = load<Doubles>(w + v * DOUBLES);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++) {
                    Doubles x = broadcast(double(from[p][k]));
#pragma GCC unroll 4
                    for (int v = 0; v < 2 * V; v++) total[p][v] = fma(x, wide[v], total[p][v]);
                }
            }
        }
#pragma GCC unroll 8
    for (int p = 0; p < P; p++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            store_lanes(positions[p].to + output + v * FLOATS, narrowed(total[p][2 * v], total[p][2 * v + 1]), cut(v));
}

// The sums of few steps of positions and outputs, weights [step][output of a block].
void compute_few(const Region &region, const Position *positions, ptrdiff_t number, ptrdiff_t channel, ptrdiff_t output,
                 ptrdiff_t outputs, const double *weights, const float *bias) {
    const ptrdiff_t width = (outputs + FLOATS - 1) / FLOATS * FLOATS;
    auto go = [&](auto vectors, ptrdiff_t first) {
        constexpr int V = decltype(vectors)::value;
        const Segment &all = region.segments[0];
        ptrdiff_t p = 0, lanes = std::min<ptrdiff_t>(FLOATS, outputs - first - (V - 1) * FLOATS);
        for (; p + ROWS <= number; p += ROWS) {
            // A tile writes here and there: memory is asked for beforehand.
            for (ptrdiff_t next = p + ROWS; first == 0 && next < std::min(number, p + 2 * ROWS); next++)
                for (ptrdiff_t i = 0; i < outputs; i += 16) __builtin_prefetch(positions[next].to + output + i, 1);
            short_tile<ROWS, V>(positions + p, channel, output + first, lanes, weights + first, width, all, bias);
        }
        for (; p < number; p++)
            short_tile<1, V>(positions + p, channel, output + first, lanes, weights + first, width, all, bias);
    };
    ptrdiff_t first = 0;
    for (; first + (SHORT - 1) * FLOATS < outputs; first += SHORT * FLOATS) go(std::integral_constant<int, SHORT>{}, first);
    if (first < outputs) go(std::integral_constant<int, 1>{}, first);
}

template <int V>
void compute(const Region &region, const Position *positions, ptrdiff_t number, ptrdiff_t channel, ptrdiff_t output,
             ptrdiff_t lanes, const float *weights, const float *bias) {
    for (const Segment &segment : region.segments) {
        bool first = &segment == &region.segments[0];
        ptrdiff_t p = 0;
        for (; p + TILE<V> <= number; p += TILE<V>)
            tile<TILE<V>, V>(positions + p, channel, output, lanes, weights, segment, first, bias);
        for (; p + 2 <= number; p += 2) tile<2, V>(positions + p, channel, output, lanes, weights, segment, first, bias);
        for (; p < number; p++) tile<1, V>(positions + p, channel, output, lanes, weights, segment, first, bias);
    }
}

std::vector<Piece> pieces_of(const Pass &pass, const std::vector<Region> &regions, ptrdiff_t threads) {
    ptrdiff_t all = pass.images * pass.rows * pass.columns, number = POSITIONS;
    while (number > 4 * ROWS && pass.groups * pass.blocks() * (all / number + 1) < 8 * threads) number /= 2;
    std::vector<Piece> pieces;
    for (size_t region = 0; region < regions.size(); region++)
        for (ptrdiff_t first = 0, end = regions[region].positions(pass); first < end; first += number)
            pieces.push_back({ptrdiff_t(region), first, std::min(number, end - first)});
    return pieces;
}

std::vector<Region> regions_of(const Pass &pass) {
    std::vector<Region> regions;
    for (const Span &y : spans(pass.rows, pass.top, pass.stride_y, pass.kernel_height, pass.height))
        for (const Span &x : spans(pass.columns, pass.left, pass.stride_x, pass.kernel_width, pass.width))
            regions.emplace_back(pass, y, x);
    return regions;
}

// Weights packed as [group][block of outputs][step of the chain][output]; a last block has as many vectors as it needs.
int run_pass(ptrdiff_t threads, const Pass &pass, const float *weights) {
    const std::vector<Region> regions = regions_of(pass);
    const std::vector<Piece> pieces = pieces_of(pass, regions, threads);
    const ptrdiff_t chain = pass.chain(), size = pass.groups * pass.blocks() * BLOCK * chain;
    double *few = chain <= FEW ? scratch<double, 4>(size) : nullptr;
    if (chain <= FEW && !few) return NO_MEMORY;
    if (few) std::copy_n(weights, size, few);
    const ptrdiff_t blocks = pass.groups * pass.blocks(), number = ptrdiff_t(pieces.size());
    parallel(int(threads), blocks * number, [&](ptrdiff_t item, int) {
        // Weights that stay in the second cache together: then results are written side by side.
        ptrdiff_t block = size <= SMALL ? item % blocks : item / number, group = block / pass.blocks();
        ptrdiff_t inner = block % pass.blocks() * BLOCK, wide = std::min<ptrdiff_t>(BLOCK, pass.group_outputs - inner);
        const Piece &piece = pieces[size_t(size <= SMALL ? item / blocks : item % number)];
        const Region &region = regions[size_t(piece.region)];
        Position positions[POSITIONS];
        find_positions(pass, region, piece.first, piece.number, positions);
        ptrdiff_t channel = group * pass.group_channels, output = group * pass.group_outputs + inner;
        ptrdiff_t vectors = (wide + FLOATS - 1) / FLOATS, lanes = wide - (vectors - 1) * FLOATS;
        auto go = [&](auto number) {
            compute<decltype(number)::value>(region, positions, piece.number, channel, output, lanes,
                                             weights + block * BLOCK * chain, pass.bias);
        };
        switch (few ? 0 : vectors) {
            case 0:
                compute_few(region, positions, piece.number, channel, output, wide, few + block * BLOCK * chain, pass.bias);
                break;
            case 1: go(std::integral_constant<int, 1>{}); break;
            case 2: go(std::integral_constant<int, 2>{}); break;
            case 3: go(std::integral_constant<int, std::min(3, VECTORS)>{}); break;
            default: go(std::integral_constant<int, VECTORS>{});
        }
        for (ptrdiff_t p = 0; pass.norm && p < piece.number; p++) follow(pass, positions[p].to, output, wide);
    });
    return DONE;
}

// Packs with element(group, output, step) in steps of 16, so that what is read and written stays in the first cache.
template <typename F>
void pack(ptrdiff_t threads, const Pass &pass, float *to, F &&element) {
    constexpr ptrdiff_t SIDE = 16;
    ptrdiff_t chain = pass.chain(), pieces = (chain + STEPS - 1) / STEPS;
    parallel(int(threads), pass.groups * pass.blocks() * pieces, [&](ptrdiff_t item, int) {
        ptrdiff_t block = item / pieces, group = block / pass.blocks(), output = block % pass.blocks() * BLOCK;
        ptrdiff_t number = std::min<ptrdiff_t>(BLOCK, pass.group_outputs - output);
        ptrdiff_t width = (number + FLOATS - 1) / FLOATS * FLOATS;
        float *panel = to + block * BLOCK * chain;
        ptrdiff_t begin = item % pieces * STEPS, end = std::min(chain, begin + STEPS);
        for (ptrdiff_t k = begin; k < end; k += SIDE)
            element(group, output, number, k, std::min(k + SIDE, end), panel, width);
    });
}

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

void depthwise_row(const DepthwisePass &depthwise, ptrdiff_t image, ptrdiff_t row) {
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
            for (ptrdiff_t c = 0; pass.norm && c < step; c++) follow(pass, pass.to(image, row, column + c), 0, pass.groups);
        }
}

// Passes over the same images, row by row of all, so that what they write side by side is in the cache together.
void run_depthwise(ptrdiff_t threads, const std::vector<DepthwisePass> &passes) {
    const ptrdiff_t images = passes[0].pass.images, rows = passes[0].pass.rows;  // no other has more
    const ptrdiff_t wanted = 8 * std::max<ptrdiff_t>(1, threads);  // items
    const ptrdiff_t band = std::clamp<ptrdiff_t>(images * rows / wanted, 1, 8), bands = (rows + band - 1) / band;
    parallel(int(threads), images * bands, [&](ptrdiff_t item, int) {
        for (ptrdiff_t row = item % bands * band, end = std::min(rows, row + band); row < end; row++)
            for (const DepthwisePass &depthwise : passes)
                if (row < depthwise.pass.rows) depthwise_row(depthwise, item / bands, row);
    });
}

// A pass of the scheme that `method` names; afterwards, images for which fewer products do not give what the definition
// does are computed by it: `direct` computes a pass of some images.
template <typename F>
int run(ptrdiff_t threads, Method method, const Pass &pass, const Kernels &kernels, F &&direct) {
    if (method == DIRECT) return direct(pass);
    unsigned char *again = scratch<unsigned char, 6>(pass.images);
    if (!again) return NO_MEMORY;
    std::fill_n(again, pass.images, 0);
    int status = run_winograd(threads, method, pass, kernels, again);
    for (ptrdiff_t image = 0, end; status == DONE && image < pass.images; image = end + 1) {
        for (end = image; end < pass.images && again[end];) end++;
        if (end == image) continue;
        Pass some = pass;
        some.maps = pass.from(image, 0, 0), some.result = pass.to(image, 0, 0), some.images = end - image;
        status = direct(some);
    }
    return status;
}

}  // namespace

// Weights [output][kernel row][kernel column][channel of the group]. norm: of normalisation_coefficients, null where no
// batch norm follows; form: what is fused to it, other than a sum. No exception leaves: it would end the process where
// Python's call begins.
EXPORTED int convolution(ptrdiff_t threads, const Shape *shape, const float *maps, const float *weights,
                         const float *bias, const float *norm, ptrdiff_t form, float *result) try {
    const Shape &s = *shape;
    if (!s.valid() || form < PLAIN || form > RELU6) return NONSENSE;
    FloatingPoint state;  // for what this thread does alone
    ptrdiff_t rows = s.rows(), columns = s.columns();
    Pass pass{maps, s.images, s.height, s.width, s.channels, rows, columns, s.stride_y, s.stride_x, -s.padding_top,
              -s.padding_left, s.kernel_height, s.kernel_width, s.groups, s.group_channels(), s.group_outputs(), result,
              rows * columns * s.outputs, columns * s.outputs, s.outputs, bias, norm, form};
    ptrdiff_t chain = pass.chain();
    float *packed = scratch<float, 1>(pass.groups * pass.blocks() * BLOCK * chain);
    if (!packed) return NO_MEMORY;
    if (s.depthwise()) {
        transpose(weights, chain, s.groups, chain, packed, s.groups);
        run_depthwise(threads, {{pass, packed}});
        return DONE;
    }
    return run(threads, method_of(s, OUTPUT), pass, {weights, chain, 1, s.channels, false}, [&](const Pass &some) {
        pack(threads, some, packed, [&](ptrdiff_t group, ptrdiff_t output, ptrdiff_t number, ptrdiff_t begin,
                                        ptrdiff_t end, float *panel, ptrdiff_t width) {
            if (number < width)
                std::fill(panel + begin * width, panel + end * width, 0.0f);
            const float *from = weights + (group * pass.group_outputs + output) * chain;
            transpose(from + begin, chain, number, end - begin, panel + begin * width, width);
        });
        return run_pass(threads, some, packed);
    });
} catch (const std::exception &) {
    return NO_MEMORY;
}

// The gradient by the maps. Row y of the maps met kernel rows k with k = y + padding at the top modulo stride, kernel row k
// from result row (y + padding - k) / stride: for each remainder a convolution of the gradient with a part of the kernel,
// its rows and columns in the order of the gradient's.
EXPORTED int convolution_backward(ptrdiff_t threads, const Shape *shape, const float *gradient, const float *weights,
                                  float *result) try {
    const Shape &s = *shape;
    if (!s.valid()) return NONSENSE;
    FloatingPoint state;
    ptrdiff_t rows = s.rows(), columns = s.columns(), inner = s.group_channels(), outer = s.group_outputs();
    ptrdiff_t blocks = (inner + BLOCK - 1) / BLOCK;
    float *packed = scratch<float, 1>(s.groups * blocks * BLOCK * s.kernel_height * s.kernel_width * outer);
    if (!packed) return NO_MEMORY;
    std::vector<DepthwisePass> depthwise;
    for (ptrdiff_t y = 0; y < std::min(s.stride_y, s.height); y++)
        for (ptrdiff_t x = 0; x < std::min(s.stride_x, s.width); x++) {
            ptrdiff_t k_y = (y + s.padding_top) % s.stride_y, k_x = (x + s.padding_left) % s.stride_x;
            ptrdiff_t high = k_y < s.kernel_height ? (s.kernel_height - 1 - k_y) / s.stride_y + 1 : 0;
            ptrdiff_t wide = k_x < s.kernel_width ? (s.kernel_width - 1 - k_x) / s.stride_x + 1 : 0;
            ptrdiff_t grid_rows = (s.height - 1 - y) / s.stride_y + 1, grid_columns = (s.width - 1 - x) / s.stride_x + 1;
            Pass pass{gradient, s.images, rows, columns, s.outputs, grid_rows, grid_columns, 1, 1,
                      (y + s.padding_top) / s.stride_y - (high - 1), (x + s.padding_left) / s.stride_x - (wide - 1), high,
                      wide, s.groups, outer, inner,
                      result + (y * s.width + x) * s.channels, s.height * s.width * s.channels,
                      s.stride_y * s.width * s.channels, s.stride_x * s.channels, nullptr};
            // Step (a, b, output) of the chain: kernel row k_y + (high - 1 - a) stride, likewise its column.
            auto tap = [&](ptrdiff_t a, ptrdiff_t b) {
                return (k_y + (high - 1 - a) * s.stride_y) * s.kernel_width + k_x + (wide - 1 - b) * s.stride_x;
            };
            ptrdiff_t taps = s.kernel_height * s.kernel_width;
            if (s.depthwise()) {
                for (ptrdiff_t a = 0; a < high; a++)
                    for (ptrdiff_t b = 0; b < wide; b++)
                        for (ptrdiff_t channel = 0; channel < s.groups; channel++)
                            packed[(a * wide + b) * s.groups + channel] = weights[channel * taps + tap(a, b)];
                depthwise.push_back({pass, packed});
                packed += high * wide * s.groups;
                continue;
            }
            auto direct = [&](const Pass &some) {
                pack(threads, some, packed, [&](ptrdiff_t group, ptrdiff_t channel, ptrdiff_t number, ptrdiff_t begin,
                                                ptrdiff_t end, float *panel, ptrdiff_t width) {
                    for (ptrdiff_t k = begin; k < end; k++) {
                        ptrdiff_t output = group * outer + k % outer, at = k / outer;
                        const float *from = weights + (output * taps + tap(at / wide, at % wide)) * inner + channel;
                        std::copy_n(from, number, panel + k * width);
                        std::fill(panel + k * width + number, panel + (k + 1) * width, 0.0f);
                    }
                });
                return run_pass(threads, some, packed);
            };
            Kernels kernels{weights, 1, taps * inner, inner, true};
            if (int status = run(threads, method_of(s, OF_MAPS), pass, kernels, direct)) return status;
        }
    if (s.depthwise()) run_depthwise(threads, depthwise);
    return DONE;
} catch (const std::exception &) {
    return NO_MEMORY;
}
