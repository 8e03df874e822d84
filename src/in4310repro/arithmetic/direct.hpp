// Convolutions by their definition, and what is packed for them: those of the network that no faster scheme computes, and
// those inside of another kernel.
//
// Each result is a sum over kernel row, kernel column and channel, in segments of 128 steps and parts of some of them: a
// part is a chain of fused products from zero, a segment the chain of its parts from zero, the first from the bias;
// segments are added in order. Sums of few steps are chains in float64 instead, rounded once. Taps outside of the map take
// no part. docs/arithmetic.md has the formulas.

#pragma once

#include "pass.hpp"
#include "transpose.hpp"

namespace arithmetic {

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
        // A sum of few steps is one chain.
        const ptrdiff_t size = pass.chain() <= FEW ? FEW : part_of(pass.chain());
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
inline void find_positions(const Pass &pass, const Region &region, ptrdiff_t first, ptrdiff_t number, Position *to) {
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

// All of a sum of few steps, likewise; a product of two float32 is exact in float64. Values of a position are FEW apart, and
// the weights of a step are `width` values.
template <int P, int V>
void short_tile(const double *values, const Position *positions, ptrdiff_t output, ptrdiff_t lanes, const double *weights,
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
            const double *w = weights + run.step * width;
            for (ptrdiff_t k = 0; k < run.length; k++, w += width, values++) {
                Doubles wide[2 * V];
#pragma GCC unroll 4
                for (int v = 0; v < 2 * V; v++) wide[v] = load<Doubles>(w + v * DOUBLES);
#pragma GCC unroll 8
                for (int p = 0; p < P; p++) {
                    Doubles x = broadcast(values[p * FEW]);
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
inline void compute_few(const Region &region, const Position *positions, ptrdiff_t number, ptrdiff_t channel,
                        ptrdiff_t output, ptrdiff_t outputs, const double *weights, const float *bias) {
    const ptrdiff_t width = (outputs + FLOATS - 1) / FLOATS * FLOATS;
    const Segment &all = region.segments[0];
    // In double, once for all outputs.
    double values[POSITIONS * FEW + FLOATS];
    for (ptrdiff_t p = 0; p < number; p++) {
        double *to = values + p * FEW;
        for (const Part &part : all)
            for (const Run &run : part) {
                for (ptrdiff_t k = 0; k < run.length; k += FLOATS) {
                    ptrdiff_t lanes = std::min<ptrdiff_t>(FLOATS, run.length - k);
                    Wide wide(load_lanes(positions[p].from + channel + run.offset + k, lanes));
                    store(to + k, wide.lower), store(to + k + DOUBLES, wide.upper);
                }
                to += run.length;
            }
    }
    auto go = [&](auto vectors, ptrdiff_t first) {
        constexpr int V = decltype(vectors)::value;
        ptrdiff_t p = 0, lanes = std::min<ptrdiff_t>(FLOATS, outputs - first - (V - 1) * FLOATS);
        for (; p + ROWS <= number; p += ROWS) {
            // A tile writes here and there: memory is asked for beforehand.
            for (ptrdiff_t next = p + ROWS; first == 0 && next < std::min(number, p + 2 * ROWS); next++)
                for (ptrdiff_t i = 0; i < outputs; i += 16) __builtin_prefetch(positions[next].to + output + i, 1);
            short_tile<ROWS, V>(values + p * FEW, positions + p, output + first, lanes, weights + first, width, all, bias);
        }
        for (; p < number; p++)
            short_tile<1, V>(values + p * FEW, positions + p, output + first, lanes, weights + first, width, all, bias);
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

inline std::vector<Piece> pieces_of(const Pass &pass, const std::vector<Region> &regions, ptrdiff_t threads) {
    ptrdiff_t all = pass.images * pass.rows * pass.columns, number = POSITIONS;
    while (number > 4 * ROWS && pass.groups * pass.blocks() * (all / number + 1) < 8 * threads) number /= 2;
    std::vector<Piece> pieces;
    for (size_t region = 0; region < regions.size(); region++)
        for (ptrdiff_t first = 0, end = regions[region].positions(pass); first < end; first += number)
            pieces.push_back({ptrdiff_t(region), first, std::min(number, end - first)});
    return pieces;
}

inline std::vector<Region> regions_of(const Pass &pass) {
    std::vector<Region> regions;
    for (const Span &y : spans(pass.rows, pass.top, pass.stride_y, pass.kernel_height, pass.height))
        for (const Span &x : spans(pass.columns, pass.left, pass.stride_x, pass.kernel_width, pass.width))
            regions.emplace_back(pass, y, x);
    return regions;
}

// Some positions and a block of outputs, with the batch norm that follows. Weights packed as [group][block of outputs]
// [step of the chain][output]; a last block has as many vectors as it needs. few: the same in double, for a short chain.
inline void compute_block(const Pass &pass, const Region &region, const Position *positions, ptrdiff_t number,
                          ptrdiff_t block, const float *weights, const double *few) {
    ptrdiff_t group = block / pass.blocks(), inner = block % pass.blocks() * BLOCK, at = block * BLOCK * pass.chain();
    ptrdiff_t wide = std::min<ptrdiff_t>(BLOCK, pass.group_outputs - inner), vectors = (wide + FLOATS - 1) / FLOATS;
    ptrdiff_t channel = group * pass.group_channels, output = group * pass.group_outputs + inner;
    auto go = [&](auto of) {
        compute<decltype(of)::value>(region, positions, number, channel, output, wide - (vectors - 1) * FLOATS, weights + at,
                                     pass.bias);
    };
    switch (few ? 0 : vectors) {
        case 0: compute_few(region, positions, number, channel, output, wide, few + at, pass.bias); break;
        case 1: go(std::integral_constant<int, 1>{}); break;
        case 2: go(std::integral_constant<int, 2>{}); break;
        case 3: go(std::integral_constant<int, std::min(3, VECTORS)>{}); break;
        default: go(std::integral_constant<int, VECTORS>{});
    }
    if (pass.norm) follow(pass, number, [=](ptrdiff_t p) { return positions[p].to; }, output, wide);
}

inline int run_pass(ptrdiff_t threads, const Pass &pass, const float *weights) {
    const std::vector<Region> regions = regions_of(pass);
    const std::vector<Piece> pieces = pieces_of(pass, regions, threads);
    const ptrdiff_t chain = pass.chain(), size = pass.groups * pass.blocks() * BLOCK * chain;
    double *few = chain <= FEW ? scratch<double, 4>(size) : nullptr;
    if (chain <= FEW && !few) return NO_MEMORY;
    if (few) std::copy_n(weights, size, few);
    const ptrdiff_t blocks = pass.groups * pass.blocks(), number = ptrdiff_t(pieces.size());
    parallel(int(threads), blocks * number, [&](ptrdiff_t item, int) {
        // Weights that stay in the second cache together: then results are written side by side.
        const ptrdiff_t block = size <= SMALL ? item % blocks : item / number;
        const Piece &piece = pieces[size_t(size <= SMALL ? item / blocks : item % number)];
        const Region &region = regions[size_t(piece.region)];
        Position positions[POSITIONS];
        find_positions(pass, region, piece.first, piece.number, positions);
        compute_block(pass, region, positions, piece.number, block, weights, few);
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

// Of values and a number, for those that are packed and kept: sums of products of keyed neighbours (Black et al., "UMAC",
// CRYPTO 1999), with other keys at each step, and never zero.
inline uint64_t hash_of(const float *values, ptrdiff_t number, uint64_t seed) {
    typedef uint64_t Words __attribute__((vector_size(BYTES)));
    Words sums{}, keys{}, step = keys + 0x9e3779b97f4a7c15;
    for (int lane = 0; lane < DOUBLES; lane++) keys[lane] = (seed + 1 + uint64_t(lane)) * 0xbf58476d1ce4e5b9;
    for (ptrdiff_t at = 0; at < number; at += FLOATS, keys += step) {
        __builtin_prefetch(values + at + 1024);  // of a network for one image, most of the weights are in no near cache
        const Words pairs = Words(load_lanes(values + at, std::min<ptrdiff_t>(FLOATS, number - at))) ^ keys;
        sums += (pairs & 0xffffffff) * (pairs >> 32);
        sums = sums << 7 | sums >> 57;
    }
    uint64_t hash = seed ^ uint64_t(BLOCK) << 32;  // which is part of how they are packed
    for (int lane = 0; lane < DOUBLES; lane++) hash = (hash ^ sums[lane]) * 0x94d049bb133111eb, hash ^= hash >> 29;
    return hash | 1;
}

// Memory for packed weights begins with their hash, in a line of the cache.
constexpr ptrdiff_t HEAD = 16;

// Calls f() to pack weights behind their hash, unless what it would pack is there.
template <typename F>
inline void keep(float *kept, uint64_t hash, F &&f) {
    uint64_t *head = reinterpret_cast<uint64_t *>(kept);
    if (__atomic_load_n(head, __ATOMIC_ACQUIRE) == hash) return;
    f();
    __atomic_store_n(head, hash, __ATOMIC_RELEASE);
}

// Weights [output][step of the chain], as in a forward pass.
inline void pack_weights(ptrdiff_t threads, const Pass &pass, const float *weights, float *to) {
    const ptrdiff_t chain = pass.chain();
    pack(threads, pass, to, [&](ptrdiff_t group, ptrdiff_t output, ptrdiff_t number, ptrdiff_t begin, ptrdiff_t end,
                                float *panel, ptrdiff_t width) {
        if (number < width) std::fill(panel + begin * width, panel + end * width, 0.0f);
        const float *from = weights + (group * pass.group_outputs + output) * chain;
        transpose(from + begin, chain, number, end - begin, panel + begin * width, width);
    });
}

}  // namespace arithmetic
