// Gradients of a convolution by its weights and bias: sums over the positions of a batch, by leaves and a tree.
//
// An element is the sum, over the positions of the result whose tap lies inside of the map, of map value x gradient, as
// leaves.hpp orders it; a segment is a chain over parts of 32 positions, a part a chain of fused products from zero.
// Parts count all positions, a tap outside of the map adds nothing.

#include "convolution.hpp"
#include "normalisation.hpp"
#include "transpose.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t PART = 32;     // positions: longer chains had up to twice oneDNN's error
constexpr ptrdiff_t CHUNK = 1024;  // positions: leaves that a tile takes one after the other
constexpr ptrdiff_t TILES = 16;    // that pass over a chunk while it is in the cache, at most

// What lies where: positions of the result in a map.
struct Places {
    Shape shape;
    ptrdiff_t rows, columns;
    const float *maps, *gradient;

    explicit Places(const Shape &s, const float *maps, const float *gradient)
        : shape(s), rows(s.rows()), columns(s.columns()), maps(maps), gradient(gradient) {}
    ptrdiff_t map_step() const { return shape.stride_x * shape.channels; }
    // The first column of the result whose tap is at column `from` of the map or right of it.
    ptrdiff_t first_column(ptrdiff_t tap, ptrdiff_t from) const {
        ptrdiff_t offset = from + shape.padding_x - tap;
        return offset <= 0 ? 0 : std::min(columns, (offset + shape.stride_x - 1) / shape.stride_x);
    }
};

// Taps that a tile takes: one, or two side by side where there are few channels.
struct Taps {
    ptrdiff_t y, x;
    bool pair;
};

enum Inside { ALL, LEFT, RIGHT };  // which taps of a pair are inside of the map

// Positions side by side.
struct Run {
    const float *maps, *gradient;
    ptrdiff_t length;
    Inside inside;
};

// Part of a segment of a leaf.
struct Part {
    ptrdiff_t leaf, begin, end;  // positions
    ptrdiff_t runs;              // those before this number are its own or an earlier part's
    bool begins, ends;           // a segment
    bool first, last;            // segment of its leaf
};

struct Chunk {
    ptrdiff_t number;
    Part parts[CHUNK];
    Run runs[CHUNK];
};

// The gradient's values at positions from `begin` on.
struct Values {
    const float *data;
    ptrdiff_t step, begin;

    const float *at(ptrdiff_t position) const { return data + (position - begin) * step; }
};

// Appends the runs of positions begin to end at which a tap is inside of the map.
ptrdiff_t add_runs(const Places &places, const Taps &taps, ptrdiff_t channel, const Values &values, ptrdiff_t begin,
                   ptrdiff_t end, Run *runs) {
    const Shape &s = places.shape;
    // Of the left tap and, if there is one, of the right one: columns of the result.
    ptrdiff_t left = places.first_column(taps.x, 0), left_end = places.first_column(taps.x, s.width);
    ptrdiff_t right = left, right_end = left_end;
    if (taps.pair) right = places.first_column(taps.x + 1, 0), right_end = places.first_column(taps.x + 1, s.width);
    ptrdiff_t number = 0;
    for (ptrdiff_t position = begin, row = begin / places.columns; position < end; row++) {
        ptrdiff_t first = row * places.columns, from = position - first, to = std::min(places.columns, end - first);
        ptrdiff_t y = row % places.rows * s.stride_y + taps.y - s.padding_y, image = row / places.rows;
        position = first + to;
        if (y < 0 || y >= s.height) continue;
        auto add = [&](ptrdiff_t a, ptrdiff_t b, Inside inside) {
            a = std::max(a, from), b = std::min(b, to);
            if (a >= b) return;
            ptrdiff_t x = a * s.stride_x + taps.x - s.padding_x;
            const float *map = places.maps + ((image * s.height + y) * s.width + x) * s.channels + channel;
            const float *gradient = values.at(first + a);
            if (Run *last = runs + number - 1;
                number && last->inside == inside && last->maps + last->length * places.map_step() == map &&
                last->gradient + last->length * values.step == gradient)
                last->length += b - a;
            else
                runs[number++] = {map, gradient, b - a, inside};
        };
        add(right, std::min(left, right_end), RIGHT);
        add(left, right_end, ALL);
        add(std::max(left, right_end), left_end, LEFT);
    }
    return number;
}

// Sums of leaves that wait for their partner in the tree: two trees of one size are added as soon as both are there,
// the rest from the right, which splits at the largest power of two below the number of leaves. Leaf n finds as many
// sums waiting as n has bits.
ptrdiff_t waiting(ptrdiff_t leaves) {
    ptrdiff_t number = 0;
    for (; leaves; leaves &= leaves - 1) number++;
    return number;
}

// Where the sums of a part wait in levels[waiting sum][size]; add_to adds those that waited for them.
template <typename AddTo>
[[gnu::always_inline]] inline float *place_of(const Part &part, float *levels, ptrdiff_t size, const AddTo &add_to) {
    float *to = levels + waiting(part.leaf) * size;
    if (!part.begins) add_to(to + size);
    if (!part.ends)
        to += size;
    else if (!part.first)
        add_to(to);
    if (part.ends && part.last)
        for (ptrdiff_t leaf = part.leaf; leaf & 1; leaf >>= 1) add_to(to -= size);
    return to;
}

// Continues sums[column][vector] by a run; A columns at the left tap, B at the right one.
template <int A, int B, int V, Inside INSIDE>
[[gnu::always_inline]] inline void follow(const Run &run, ptrdiff_t map_step, ptrdiff_t step, Floats (&sums)[A + B][V]) {
    const float *x = run.maps, *g = run.gradient;
    for (ptrdiff_t left = run.length; left; left--, x += map_step, g += step) {
        Floats wide[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) wide[v] = load<Floats>(g + v * FLOATS);
#pragma GCC unroll 8
        for (int c = INSIDE == RIGHT ? A : 0; c < (INSIDE == LEFT ? A : A + B); c++) {
            Floats value = broadcast(x[c]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[c][v] = arithmetic::fma(value, wide[v], sums[c][v]);
        }
    }
}

// A tile's sums over a chunk; levels[waiting sum][column][V x FLOATS].
template <int A, int B, int V>
void tile(const Chunk &chunk, ptrdiff_t column, ptrdiff_t map_step, ptrdiff_t step, float *levels) {
    constexpr ptrdiff_t SIZE = (A + B) * V * FLOATS;
    ptrdiff_t at = 0;
    for (const Part *next = chunk.parts; next < chunk.parts + chunk.number; next++) {
        const Part &part = *next;
        Floats sums[A + B][V] = {};
        for (; at < part.runs; at++) {
            Run run = chunk.runs[at];
            run.maps += column;
            if (B == 0 || run.inside == ALL)
                follow<A, B, V, ALL>(run, map_step, step, sums);
            else if (run.inside == LEFT)
                follow<A, B, V, LEFT>(run, map_step, step, sums);
            else
                follow<A, B, V, RIGHT>(run, map_step, step, sums);
        }
        auto add_to = [&](const float *left) __attribute__((always_inline)) {
#pragma GCC unroll 8
            for (int c = 0; c < A + B; c++)
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[c][v] = load<Floats>(left + (c * V + v) * FLOATS) + sums[c][v];
        };
        float *to = place_of(part, levels, SIZE, add_to);
#pragma GCC unroll 8
        for (int c = 0; c < A + B; c++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) store(to + (c * V + v) * FLOATS, sums[c][v]);
    }
}

typedef void (*Tile)(const Chunk &chunk, ptrdiff_t column, ptrdiff_t map_step, ptrdiff_t step, float *levels);

template <int V>
Tile tile_of(ptrdiff_t columns, bool pair) {
    static const Tile single[] = {tile<1, 0, V>, tile<2, 0, V>, tile<3, 0, V>, tile<4, 0, V>, tile<5, 0, V>, tile<6, 0, V>};
    static const Tile pairs[] = {tile<1, 1, V>, tile<2, 2, V>, tile<3, 3, V>};
    return pair ? pairs[columns / 2 - 1] : single[columns - 1];
}

Tile tile_of(ptrdiff_t columns, bool pair, ptrdiff_t vectors) {
    switch (vectors) {
        case 1: return tile_of<1>(columns, pair);
        case 2: return tile_of<2>(columns, pair);
        case 3: return tile_of<std::min(3, VECTORS)>(columns, pair);
        default: return tile_of<VECTORS>(columns, pair);
    }
}

// What becomes of the sums that still wait, added from the right.
void finish(float *levels, ptrdiff_t leaves, ptrdiff_t size, float *to) {
    ptrdiff_t level = waiting(leaves) - 1;
    std::copy_n(levels + level * size, size, to);
    for (level--; level >= 0; level--)
        for (ptrdiff_t i = 0; i < size; i++) to[i] = levels[level * size + i] + to[i];
}

// The parts from position `begin` on that fill a chunk, without their runs; returns where they end.
ptrdiff_t cut(const Batch &batch, ptrdiff_t begin, Chunk &chunk) {
    ptrdiff_t start = begin;
    for (chunk.number = 0; begin < batch.rows();) {
        ptrdiff_t leaf = begin / (LEAF * batch.positions), leaf_begin = batch.begin(leaf), leaf_end = batch.begin(leaf + 1);
        ptrdiff_t segment = leaf_begin + (begin - leaf_begin) / SEGMENT * SEGMENT;
        ptrdiff_t segment_end = std::min(segment + SEGMENT, leaf_end), end = std::min(begin + PART, segment_end);
        if (end - start > CHUNK) break;
        chunk.parts[chunk.number++] = {leaf, begin, end, 0, begin == segment, end == segment_end, segment == leaf_begin,
                                       segment_end == leaf_end};
        begin = end;
    }
    return begin;
}

// Outputs side by side: V vectors, the last of which may be cut.
struct Outputs {
    ptrdiff_t first, number, vectors;

    ptrdiff_t width() const { return vectors * FLOATS; }
    bool whole() const { return number == width(); }
};

// The gradient's values at a chunk; copied where a last vector would reach past them.
Values values_of(const Places &places, const Outputs &outputs, ptrdiff_t begin, ptrdiff_t end, float *copy) {
    const float *from = places.gradient + begin * places.shape.outputs + outputs.first;
    if (outputs.whole()) return {from, places.shape.outputs, begin};
    for (ptrdiff_t position = begin; position < end; position++, from += places.shape.outputs) {
        float *to = copy + (position - begin) * outputs.width();
        std::copy_n(from, outputs.number, to);
        std::fill_n(to + outputs.number, outputs.width() - outputs.number, 0.0f);
    }
    return {copy, outputs.width(), begin};
}

// How the columns of a group, [tap][channel], are cut into tiles.
struct Tiling {
    ptrdiff_t kernel_height, kernel_width, channels;
    bool pairs;

    explicit Tiling(const Shape &s)
        : kernel_height(s.kernel_height), kernel_width(s.kernel_width), channels(s.group_channels()),
          pairs(s.groups == 1 && 2 * channels <= TILE && kernel_width > 1) {}
    ptrdiff_t taps_of_row() const { return pairs ? (kernel_width + 1) / 2 : kernel_width; }
    ptrdiff_t taps() const { return kernel_height * taps_of_row(); }
    Taps tap(ptrdiff_t number) const {
        ptrdiff_t y = number / taps_of_row(), x = number % taps_of_row() * (pairs ? 2 : 1);
        return {y, x, pairs && x + 1 < kernel_width};
    }
    ptrdiff_t tiles_of_tap() const { return (channels + TILE - 1) / TILE; }
    ptrdiff_t tiles() const { return taps() * tiles_of_tap(); }
    Taps taps_of(ptrdiff_t tile) const { return tap(tile / tiles_of_tap()); }
    ptrdiff_t channel(ptrdiff_t tile) const { return channels * (tile % tiles_of_tap()) / tiles_of_tap(); }
    ptrdiff_t columns(ptrdiff_t tile) const {
        ptrdiff_t inner = tile % tiles_of_tap() + 1;
        return (channels * inner / tiles_of_tap() - channel(tile)) * (taps_of(tile).pair ? 2 : 1);
    }
    // The first column among all, [kernel row][kernel column][channel].
    ptrdiff_t column(ptrdiff_t tile) const {
        return (taps_of(tile).y * kernel_width + taps_of(tile).x) * channels + channel(tile);
    }
    bool first_of_tap(ptrdiff_t tile) const { return tile % tiles_of_tap() == 0; }
};

struct Workspace {
    Chunk *chunk;
    float *copy, *levels;
};

void find_runs(const Places &places, const Taps &taps, ptrdiff_t channel, const Values &values, Chunk &chunk) {
    ptrdiff_t runs = 0;
    for (ptrdiff_t i = 0; i < chunk.number; i++) {
        Part &part = chunk.parts[i];
        // Runs of two parts are not joined.
        part.runs = runs += add_runs(places, taps, channel, values, part.begin, part.end, chunk.runs + runs);
    }
}

// Tiles begin to end of some outputs, over all leaves, into levels[tile][...].
void sum_tiles(const Places &places, const Batch &batch, const Tiling &tiling, ptrdiff_t channel, const Outputs &outputs,
               ptrdiff_t begin, ptrdiff_t end, const Workspace &space, ptrdiff_t level_size) {
    Chunk &chunk = *space.chunk;
    for (ptrdiff_t position = 0, next; position < batch.rows(); position = next) {
        next = cut(batch, position, chunk);
        Values values = values_of(places, outputs, position, next, space.copy);
        for (ptrdiff_t t = begin; t < end; t++) {
            Taps taps = tiling.taps_of(t);
            if (t == begin || tiling.first_of_tap(t)) find_runs(places, taps, channel, values, chunk);
            Tile tile = tile_of(tiling.columns(t), taps.pair, outputs.vectors);
            tile(chunk, tiling.channel(t), places.map_step(), values.step, space.levels + (t - begin) * level_size);
        }
    }
}

// V vectors of channels, one input and one output each; the last begins `last` values after the first.
template <int V>
void depthwise_tile(const Chunk &chunk, ptrdiff_t channel, ptrdiff_t last, ptrdiff_t lanes, ptrdiff_t map_step,
                    ptrdiff_t step, float *levels) {
    constexpr ptrdiff_t SIZE = V * FLOATS;
    ptrdiff_t at = 0;
    for (const Part *next = chunk.parts; next < chunk.parts + chunk.number; next++) {
        const Part &part = *next;
        Floats sums[V] = {};
        for (; at < part.runs; at++) {
            const float *x = chunk.runs[at].maps + channel, *g = chunk.runs[at].gradient + channel;
            for (ptrdiff_t left = chunk.runs[at].length; left; left--, x += map_step, g += step)
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) {
                    ptrdiff_t from = v < V - 1 ? v * FLOATS : last;
                    sums[v] = arithmetic::fma(load_lanes(x + from, lanes), load_lanes(g + from, lanes), sums[v]);
                }
        }
        auto add_to = [&](const float *left) __attribute__((always_inline)) {
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[v] = load<Floats>(left + v * FLOATS) + sums[v];
        };
        float *to = place_of(part, levels, SIZE, add_to);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(to + v * FLOATS, sums[v]);
    }
}

// Of one tap: result[channel][tap]. A last vector of channels overlaps the one before; fewer channels than one has are
// lanes of it.
void depthwise_tap(const Places &places, const Batch &batch, ptrdiff_t tap, const Workspace &space,
                   ptrdiff_t level_size, float *result) {
    const Shape &s = places.shape;
    ptrdiff_t vectors = (s.channels + FLOATS - 1) / FLOATS, lanes = std::min<ptrdiff_t>(FLOATS, s.channels);
    Taps taps{tap / s.kernel_width, tap % s.kernel_width, false};
    auto begin = [&](ptrdiff_t vector) { return std::min(vector * FLOATS, s.channels - lanes); };
    for (ptrdiff_t position = 0, next; position < batch.rows(); position = next) {
        next = cut(batch, position, *space.chunk);
        find_runs(places, taps, 0, {places.gradient + position * s.outputs, s.outputs, position}, *space.chunk);
        for (ptrdiff_t v = 0; v < vectors; v += 4) {
            static void (*const tiles[])(const Chunk &, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *) = {
                depthwise_tile<1>, depthwise_tile<2>, depthwise_tile<3>, depthwise_tile<4>};
            ptrdiff_t number = std::min<ptrdiff_t>(4, vectors - v), channel = begin(v);
            tiles[number - 1](*space.chunk, channel, begin(v + number - 1) - channel, lanes, places.map_step(), s.outputs,
                              space.levels + v / 4 * level_size);
        }
    }
    for (ptrdiff_t v = 0; v < vectors; v += 4) {
        float *sums = space.levels + v / 4 * level_size;
        ptrdiff_t number = std::min<ptrdiff_t>(4, vectors - v);
        finish(sums, batch.leaves(), number * FLOATS, space.copy);
        for (ptrdiff_t i = 0; i < number; i++)
            for (ptrdiff_t lane = 0; lane < lanes; lane++)
                result[(begin(v + i) + lane) * s.kernel_height * s.kernel_width + tap] = space.copy[i * FLOATS + lane];
    }
}

}  // namespace

// result[output][kernel row][kernel column][channel of the group].
EXPORTED int weight_gradient(ptrdiff_t threads, const Shape *shape, const float *maps, const float *gradient,
                             float *result) {
    const Shape &s = *shape;
    if (!s.valid()) return NONSENSE;
    Places places(s, maps, gradient);
    Batch batch{s.images, places.rows * places.columns};
    Tiling tiling(s);
    ptrdiff_t inner = s.group_channels(), outer = s.group_outputs(), blocks = (outer + BLOCK - 1) / BLOCK;
    ptrdiff_t kernel = s.kernel_height * s.kernel_width * inner, most = TILES;
    auto pieces = [&] { return (tiling.tiles() + most - 1) / most; };
    while (most > 1 && s.groups * blocks * pieces() < 4 * threads) most /= 2;
    ptrdiff_t depth = 3;  // sums that may wait, the leaf's and the segment's
    while (batch.leaves() >> (depth - 2)) depth++;
    ptrdiff_t level_size = (s.depthwise() ? 4 * FLOATS : TILE * BLOCK) * depth;
    ptrdiff_t tiles = s.depthwise() ? (s.channels + 4 * FLOATS - 1) / (4 * FLOATS) : most;
    ptrdiff_t size = CHUNK * BLOCK + tiles * level_size;
    float *copies = scratch<float, 3>(std::max<ptrdiff_t>(1, threads) * size);
    Chunk *chunks = scratch<Chunk, 2>(std::max<ptrdiff_t>(1, threads));
    if (!copies || !chunks) return NO_MEMORY;
    auto space_of = [=](int thread) {
        return Workspace{chunks + thread, copies + thread * size, copies + thread * size + CHUNK * BLOCK};
    };
    if (s.depthwise()) {
        parallel(int(threads), s.kernel_height * s.kernel_width, [&](ptrdiff_t tap, int thread) {
            depthwise_tap(places, batch, tap, space_of(thread), level_size, result);
        });
        return DONE;
    }
    parallel(int(threads), s.groups * blocks * pieces(), [&](ptrdiff_t item, int thread) {
        ptrdiff_t piece = item % pieces(), block = item / pieces() % blocks, group = item / (pieces() * blocks);
        ptrdiff_t output = block * BLOCK, number = std::min<ptrdiff_t>(BLOCK, outer - output);
        Outputs outputs{group * outer + output, number, (number + FLOATS - 1) / FLOATS};
        // Pieces of the same number of tiles, or one less.
        ptrdiff_t begin = tiling.tiles() * piece / pieces(), end = tiling.tiles() * (piece + 1) / pieces();
        Workspace space = space_of(thread);
        sum_tiles(places, batch, tiling, group * inner, outputs, begin, end, space, level_size);
        // Columns are side by side in the result. The copy of the gradient is not needed any more.
        float *sums = space.copy, *next = sums;
        for (ptrdiff_t t = begin; t < end; t++) {
            ptrdiff_t size = tiling.columns(t) * outputs.width();
            finish(space.levels + (t - begin) * level_size, batch.leaves(), size, next);
            next += size;
        }
        float *to = result + outputs.first * kernel + tiling.column(begin);
        transpose(sums, outputs.width(), (next - sums) / outputs.width(), number, to, kernel);
    });
    return DONE;
}

// Sums of the gradient over images and positions, in double; result[output].
EXPORTED int bias_gradient(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t outputs,
                           const float *gradient, float *result) {
    if (images < 1 || positions < 1 || outputs < 1) return NONSENSE;
    Batch batch{images, positions};
    Memory<double> sums(batch.segments() * 2 * outputs);
    if (!sums) return NO_MEMORY;
    FloatingPoint state;
    sum_segments(threads, batch, outputs, sums,
                 [=](ptrdiff_t row, ptrdiff_t output, ptrdiff_t lanes, Doubles *sum, Doubles *)
                     __attribute__((always_inline)) {
                         Wide value(load_lanes(gradient + row * outputs + output, lanes));
                         sum[0] += value.lower, sum[1] += value.upper;
                     });
    chain_segments(batch, sums.data, 2 * outputs);
    add_tree<double>(sums, batch.leaves(), 2 * outputs);
    for (ptrdiff_t output = 0; output < outputs; output++) result[output] = float(sums[output]);
    return DONE;
}
