// Gradients of a convolution by its weights and bias: sums over the positions of a batch, by leaves and a tree.
//
// An element is the sum, over the positions of the result whose tap lies inside of the map, of map value x gradient, as
// leaves.hpp orders it. A segment is a chain over sections of 64 positions, a section a chain from zero over its parts, a
// part a chain of fused products from zero. Parts count all positions, a tap outside of the map adds nothing. Where a batch
// is less than a leaf and has few positions, an element is a chain in float64 instead, rounded once.

#include "convolution.hpp"
#include "normalisation.hpp"
#include "transpose.hpp"
#include "winograd.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t SECTION = 64;  // positions: their gradient stays in the first cache while tiles pass
constexpr ptrdiff_t FEW = 64;      // positions of a batch of less than a leaf
constexpr ptrdiff_t CHUNK = 1024;  // positions whose runs are found at a time
constexpr ptrdiff_t CACHED = 1 << 16;  // values of maps and gradient that stay in the second cache
constexpr ptrdiff_t APART = 1 << 16;   // weights of all leaves together
constexpr ptrdiff_t DEPTHWISE_LEVELS = 2 * 4 * FLOATS;  // sums of a tile over a leaf and a segment
constexpr ptrdiff_t TILES = 32;    // that pass over a chunk while it is in the cache, at most

// What lies where: positions of the result in a map.
struct Places {
    Shape shape;
    ptrdiff_t rows, columns;
    ptrdiff_t leaf;  // images of a leaf but the last
    const float *maps, *gradient;

    Places(const Shape &s, ptrdiff_t whole, const float *maps, const float *gradient)
        : shape(s), rows(s.rows()), columns(s.columns()), leaf(std::min(LEAF, whole)), maps(maps), gradient(gradient) {}
    Batch batch() const { return {shape.images, rows * columns}; }
    // The images of a leaf, as if there were no others.
    Places of_leaf(ptrdiff_t number) const {
        Places own = *this;
        ptrdiff_t first = number * LEAF;
        own.shape.images = std::min(LEAF, shape.images - first);
        own.maps += first * shape.height * shape.width * shape.channels;
        own.gradient += first * rows * columns * shape.outputs;
        return own;
    }
    ptrdiff_t map_step() const { return shape.stride_x * shape.channels; }
    // The first column of the result whose tap is at column `from` of the map or right of it.
    ptrdiff_t first_column(ptrdiff_t tap, ptrdiff_t from) const {
        ptrdiff_t offset = from + shape.padding_left - tap;
        return offset <= 0 ? 0 : std::min(columns, (offset + shape.stride_x - 1) / shape.stride_x);
    }
};

struct Tap {
    ptrdiff_t y, x;
};

// Positions side by side, of one part.
struct Run {
    const float *maps, *gradient;
    ptrdiff_t length;
    bool ends;  // the part
};

// Section of a segment of a leaf.
struct Section {
    ptrdiff_t leaf, begin, end;  // positions
    const Run *runs, *runs_end;
    bool begins, ends;  // a segment
    bool first, last;   // segment of its leaf
};

struct Chunk {
    ptrdiff_t number;
    Section sections[CHUNK];
    Run runs[CHUNK];
};

// The gradient's values at positions from `begin` on.
struct Values {
    const float *data;
    ptrdiff_t step, begin;

    const float *at(ptrdiff_t position) const { return data + (position - begin) * step; }
};

// The runs of a section at which a tap is inside of the map; returns their end.
Run *add_runs(const Places &places, const Tap &tap, ptrdiff_t channel, const Values &values, const Section &section,
              Run *runs) {
    const Shape &s = places.shape;
    const ptrdiff_t size = part_of(places.leaf * places.rows * places.columns);
    ptrdiff_t inside = places.first_column(tap.x, 0), inside_end = places.first_column(tap.x, s.width), part = -1;
    Run *next = runs;
    for (ptrdiff_t position = section.begin, row = position / places.columns; position < section.end; row++) {
        ptrdiff_t first = row * places.columns, column = std::max(inside, position - first);
        ptrdiff_t end = std::min({places.columns, inside_end, section.end - first});
        ptrdiff_t y = row % places.rows * s.stride_y + tap.y - s.padding_top, image = row / places.rows;
        position = first + places.columns;
        if (y < 0 || y >= s.height) continue;
        while (column < end) {
            // Parts are a power of two.
            ptrdiff_t at = first + column - section.begin, number = std::min(size - (at & (size - 1)), end - column);
            ptrdiff_t x = column * s.stride_x + tap.x - s.padding_left;
            const float *map = places.maps + ((image * s.height + y) * s.width + x) * s.channels + channel;
            const float *gradient = values.at(first + column);
            if ((at & -size) != part) {
                if (next > runs) next[-1].ends = true;
                *next++ = {map, gradient, number, false};
            } else if (Run &last = next[-1]; last.maps + last.length * places.map_step() == map &&
                                             last.gradient + last.length * values.step == gradient) {
                last.length += number;
            } else {
                *next++ = {map, gradient, number, false};
            }
            part = at & -size, column += number;
        }
    }
    if (next > runs) next[-1].ends = true;
    return next;
}

// Where the sums of a section wait in levels[waiting sum][size]; add_to adds those that waited for them.
template <typename AddTo>
[[gnu::always_inline]] inline float *place_of(const Section &section, float *levels, ptrdiff_t size, const AddTo &add_to) {
    float *to = levels + waiting(section.leaf) * size;
    if (!section.begins) add_to(to + size);
    if (!section.ends)
        to += size;
    else if (!section.first)
        add_to(to);
    if (section.ends && section.last)
        for (ptrdiff_t leaf = section.leaf; leaf & 1; leaf >>= 1) add_to(to -= size);
    return to;
}

// Continues the chains of C columns and V vectors of outputs by the products of a run.
template <int C, int V>
[[gnu::always_inline]] inline void follow(const Run &run, ptrdiff_t column, ptrdiff_t map_step, ptrdiff_t step,
                                          Floats (&sums)[C][V]) {
    const float *x = run.maps + column, *g = run.gradient;
    // A few values of each position are far from the next one's, where the processor does not guess them: those of the
    // next section are asked for.
    const ptrdiff_t ahead = SECTION * map_step;
    auto next = [&]() __attribute__((always_inline)) {
        Floats wide[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) wide[v] = load<Floats>(g + v * FLOATS);
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) {
            Floats value = broadcast(x[c]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[c][v] = arithmetic::fma(value, wide[v], sums[c][v]);
        }
        __builtin_prefetch(x + ahead, 0, 2);
        x += map_step, g += step;
    };
#pragma GCC unroll 4
    for (ptrdiff_t left = run.length; left; left--) next();
}

// A tile's sums over a section; levels[waiting sum][column][V x FLOATS].
template <int C, int V>
void tile(const Section &section, ptrdiff_t column, ptrdiff_t map_step, ptrdiff_t step, float *levels) {
    Floats sums[C][V] = {}, total[C][V] = {};
    for (const Run *run = section.runs; run < section.runs_end; run++) {
        follow<C, V>(*run, column, map_step, step, sums);
        if (!run->ends) continue;
#pragma GCC unroll 8
        for (int c = 0; c < C; c++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) total[c][v] += sums[c][v], sums[c][v] = Floats{};
    }
    auto add_to = [&](const float *left) __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int c = 0; c < C; c++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) total[c][v] = load<Floats>(left + (c * V + v) * FLOATS) + total[c][v];
    };
    float *to = place_of(section, levels, C * V * FLOATS, add_to);
#pragma GCC unroll 8
    for (int c = 0; c < C; c++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) store(to + (c * V + v) * FLOATS, total[c][v]);
}

typedef void (*Tile)(const Section &section, ptrdiff_t column, ptrdiff_t map_step, ptrdiff_t step, float *levels);

template <int V, size_t... C>
Tile tile_of(ptrdiff_t columns, std::index_sequence<C...>) {
    static const Tile tiles[] = {tile<int(C) + 1, V>...};
    return tiles[columns - 1];
}

Tile tile_of(ptrdiff_t columns, ptrdiff_t vectors) {
    constexpr int THREE = std::min(3, VECTORS);
    switch (vectors) {
        case 1: return tile_of<1>(columns, std::make_index_sequence<TILE<1>>{});
        case 2: return tile_of<2>(columns, std::make_index_sequence<TILE<2>>{});
        case 3: return tile_of<THREE>(columns, std::make_index_sequence<TILE<THREE>>{});
        default: return tile_of<VECTORS>(columns, std::make_index_sequence<TILE<VECTORS>>{});
    }
}

// What becomes of the sums that still wait, added from the right.
void finish(float *levels, ptrdiff_t leaves, ptrdiff_t size, float *to) {
    ptrdiff_t level = waiting(leaves) - 1;
    std::copy_n(levels + level * size, size, to);
    for (level--; level >= 0; level--)
        for (ptrdiff_t i = 0; i < size; i++) to[i] = levels[level * size + i] + to[i];
}

// The sections from position `begin` on that fill a chunk of at most so many, without their runs; returns where they end.
ptrdiff_t cut(const Batch &batch, ptrdiff_t begin, ptrdiff_t most, Chunk &chunk) {
    ptrdiff_t start = begin;
    for (chunk.number = 0; begin < batch.rows();) {
        ptrdiff_t leaf = begin / (LEAF * batch.positions), leaf_begin = batch.begin(leaf), leaf_end = batch.begin(leaf + 1);
        ptrdiff_t segment = leaf_begin + (begin - leaf_begin) / SEGMENT * SEGMENT;
        ptrdiff_t segment_end = std::min(segment + SEGMENT, leaf_end), end = std::min(begin + SECTION, segment_end);
        if (end - start > most) break;
        chunk.sections[chunk.number++] = {leaf, begin, end, nullptr, nullptr, begin == segment, end == segment_end,
                                          segment == leaf_begin, segment_end == leaf_end};
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
    ptrdiff_t kernel_width, channels, taps, most, tiles_of_tap;  // most: columns of a tile

    Tiling(const Shape &s, ptrdiff_t vectors)
        : kernel_width(s.kernel_width),
          channels(s.group_channels()),
          taps(s.kernel_height * s.kernel_width),
          most(std::min<ptrdiff_t>(ROWS, SUMS / vectors)),
          tiles_of_tap((channels + most - 1) / most) {}
    Tap tap_of(ptrdiff_t tile) const { return {tile / tiles_of_tap / kernel_width, tile / tiles_of_tap % kernel_width}; }
    // The first tile of the next tap.
    ptrdiff_t next_tap(ptrdiff_t tile) const { return (tile / tiles_of_tap + 1) * tiles_of_tap; }
    ptrdiff_t channel(ptrdiff_t tile) const { return tile % tiles_of_tap * most; }
    ptrdiff_t columns(ptrdiff_t tile) const { return std::min(most, channels - channel(tile)); }
    // The first column among all, [kernel row][kernel column][channel].
    ptrdiff_t column(ptrdiff_t tile) const { return tile / tiles_of_tap * channels + channel(tile); }
};

struct Workspace {
    Chunk *chunk;
    float *copy, *levels;
};

void find_runs(const Places &places, const Tap &tap, ptrdiff_t channel, const Values &values, Chunk &chunk) {
    Run *runs = chunk.runs;
    for (ptrdiff_t i = 0; i < chunk.number; i++) {
        Section &section = chunk.sections[i];
        section.runs = runs;
        section.runs_end = runs = add_runs(places, tap, channel, values, section, runs);
    }
}

// Tiles begin to end of some outputs, over all leaves, into levels[tile][...].
void sum_tiles(const Places &places, const Tiling &tiling, ptrdiff_t channel, const Outputs &outputs, ptrdiff_t begin,
               ptrdiff_t end, const Workspace &space, ptrdiff_t level_size) {
    Chunk &chunk = *space.chunk;
    const Batch batch = places.batch();
    for (ptrdiff_t position = 0, next; position < batch.rows(); position = next) {
        next = cut(batch, position, CHUNK, chunk);
        Values values = values_of(places, outputs, position, next, space.copy);
        for (ptrdiff_t t = begin, tap_end; t < end; t = tap_end) {
            tap_end = std::min(end, tiling.next_tap(t));
            find_runs(places, tiling.tap_of(t), channel, values, chunk);
            for (ptrdiff_t i = 0; i < chunk.number; i++)
                for (ptrdiff_t u = t; u < tap_end; u++)
                    tile_of(tiling.columns(u), outputs.vectors)(chunk.sections[i], tiling.channel(u), places.map_step(),
                                                                values.step, space.levels + (u - begin) * level_size);
        }
    }
}

// V vectors of channels, one input and one output each; the last begins `last` values after the first.
template <int V>
void depthwise_tile(const Section &section, ptrdiff_t channel, ptrdiff_t last, ptrdiff_t lanes, ptrdiff_t map_step,
                    ptrdiff_t step, float *levels) {
    Floats sums[V] = {}, total[V] = {};
    for (const Run *run = section.runs; run < section.runs_end; run++) {
        const float *x = run->maps + channel, *g = run->gradient + channel;
        for (ptrdiff_t left = run->length; left; left--, x += map_step, g += step)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                ptrdiff_t from = v < V - 1 ? v * FLOATS : last;
                sums[v] = arithmetic::fma(load_lanes(x + from, lanes), load_lanes(g + from, lanes), sums[v]);
            }
        if (!run->ends) continue;
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) total[v] += sums[v], sums[v] = Floats{};
    }
    auto add_to = [&](const float *left) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) total[v] = load<Floats>(left + v * FLOATS) + total[v];
    };
    float *to = place_of(section, levels, V * FLOATS, add_to);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) store(to + v * FLOATS, total[v]);
}

// The vectors of channels of a depth-wise convolution that are summed together, all taps of them: what they read of the
// maps and the gradient stays in the cache meanwhile. A last vector of channels overlaps the one before; fewer channels
// than one has are lanes of it.
struct Slice {
    ptrdiff_t channels, begin, end;  // vectors

    ptrdiff_t lanes() const { return std::min<ptrdiff_t>(FLOATS, channels); }
    ptrdiff_t channel(ptrdiff_t vector) const { return std::min(vector * FLOATS, channels - lanes()); }
    ptrdiff_t tiles() const { return (end - begin + 3) / 4; }
    ptrdiff_t first(ptrdiff_t tile) const { return begin + (end - begin) * tile / tiles(); }
};

// Of the images of a leaf: result[tap][channel].
void depthwise_leaf(const Places &places, const Slice &slice, const Workspace &space, float *result) {
    static void (*const tiles[])(const Section &, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t, float *) = {
        depthwise_tile<1>, depthwise_tile<2>, depthwise_tile<3>, depthwise_tile<4>};
    const Shape &s = places.shape;
    const Batch leaf = places.batch();
    const ptrdiff_t taps = s.kernel_height * s.kernel_width;
    const ptrdiff_t values = (slice.end - slice.begin) * FLOATS * (1 + s.stride_y * s.stride_x);  // of a position
    const ptrdiff_t most = std::clamp(CACHED / values, SECTION, CHUNK);
    auto each_tile = [&](ptrdiff_t tap, auto &&f) {
        for (ptrdiff_t tile = 0; tile < slice.tiles(); tile++)
            f(slice.first(tile), slice.first(tile + 1) - slice.first(tile),
              space.levels + (tap * slice.tiles() + tile) * DEPTHWISE_LEVELS);
    };
    for (ptrdiff_t position = 0, next; position < leaf.rows(); position = next) {
        next = cut(leaf, position, most, *space.chunk);
        for (ptrdiff_t tap = 0; tap < taps; tap++) {
            find_runs(places, {tap / s.kernel_width, tap % s.kernel_width}, 0,
                      {places.gradient + position * s.outputs, s.outputs, position}, *space.chunk);
            each_tile(tap, [&](ptrdiff_t first, ptrdiff_t number, float *levels) {
                ptrdiff_t channel = slice.channel(first), last = slice.channel(first + number - 1) - channel;
                for (ptrdiff_t i = 0; i < space.chunk->number; i++)
                    tiles[number - 1](space.chunk->sections[i], channel, last, slice.lanes(), places.map_step(), s.outputs,
                                      levels);
            });
        }
    }
    for (ptrdiff_t tap = 0; tap < taps; tap++)
        each_tile(tap, [&](ptrdiff_t first, ptrdiff_t number, const float *levels) {
            for (ptrdiff_t i = 0; i < number; i++)
                std::copy_n(levels + i * FLOATS, slice.lanes(), result + tap * s.channels + slice.channel(first + i));
        });
}

// Of a batch with few positions; a product of two float32 is exact in float64.
void few_positions(ptrdiff_t threads, const Places &places, float *result) {
    const Shape &s = places.shape;
    ptrdiff_t inner = s.group_channels(), taps = s.kernel_height * s.kernel_width;
    parallel(int(threads), s.outputs, [&](ptrdiff_t output, int) {
        const float *group = places.maps + output / s.group_outputs() * inner;
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            for (ptrdiff_t channel = 0; channel < inner; channel += FLOATS) {
                ptrdiff_t lanes = std::min<ptrdiff_t>(FLOATS, inner - channel);
                Doubles lower{}, upper{};
                for (ptrdiff_t at = 0; at < s.images * places.rows * places.columns; at++) {
                    ptrdiff_t image = at / places.columns / places.rows, row = at / places.columns % places.rows;
                    ptrdiff_t y = row * s.stride_y + tap / s.kernel_width - s.padding_top;
                    ptrdiff_t x = at % places.columns * s.stride_x + tap % s.kernel_width - s.padding_left;
                    if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
                    const float *map = group + ((image * s.height + y) * s.width + x) * s.channels + channel;
                    Doubles value = broadcast(double(places.gradient[at * s.outputs + output]));
                    Wide wide(load_lanes(map, lanes));
                    lower = arithmetic::fma(value, wide.lower, lower);
                    upper = arithmetic::fma(value, wide.upper, upper);
                }
                store_lanes(result + (output * taps + tap) * inner + channel, narrowed(lower, upper), lanes);
            }
    });
}

// By definition.
int direct(ptrdiff_t threads, const Shape &s, ptrdiff_t whole, const float *maps, const float *gradient, float *result) {
    Places places(s, whole, maps, gradient);
    const Batch batch = places.batch();
    if (whole < LEAF && batch.rows() <= FEW) {
        few_positions(threads, places, result);
        return DONE;
    }
    ptrdiff_t inner = s.group_channels(), outer = s.group_outputs(), blocks = (outer + BLOCK - 1) / BLOCK;
    Tiling tiling(s, std::min<ptrdiff_t>(VECTORS, (outer + FLOATS - 1) / FLOATS));
    ptrdiff_t kernel = s.kernel_height * s.kernel_width * inner, most = TILES;
    // Pieces of so many tiles at most, which are whole taps or of one tap: those of many tiles begin with a line of the cache,
    // so that no other piece writes to it. Each reads all that it sums over: few weights, which make few pieces, are summed
    // leaf by leaf first.
    auto of_tap = [&] { return (tiling.tiles_of_tap + most - 1) / most; };
    auto taps = [&] { return std::max<ptrdiff_t>(1, most / tiling.tiles_of_tap); };
    auto pieces = [&] { return (tiling.taps + taps() - 1) / taps() * of_tap(); };
    auto few = [&](ptrdiff_t number) { return number < 4 * threads; };
    bool apart = s.depthwise() || (few(s.groups * blocks * pieces()) && s.outputs * kernel * batch.leaves() <= APART);
    ptrdiff_t parts = apart ? batch.leaves() : 1;
    while (most > 1 && few(parts * s.groups * blocks * pieces())) most /= 2;
    // Of a depth-wise convolution: slices of channels, so that every thread has some.
    ptrdiff_t vectors = (s.channels + FLOATS - 1) / FLOATS, slices = std::clamp<ptrdiff_t>(4 * threads / parts, 1, vectors);
    ptrdiff_t depth = 3;  // sums that may wait, the leaf's and the segment's
    while (batch.leaves() >> (depth - 2)) depth++;
    ptrdiff_t level_size = SUMS * FLOATS * depth;
    ptrdiff_t levels = s.depthwise() ? kernel * (vectors + slices) * DEPTHWISE_LEVELS : most * level_size;
    ptrdiff_t size = CHUNK * BLOCK + levels;
    float *copies = scratch<float, 3>(std::max<ptrdiff_t>(1, threads) * size);
    Chunk *chunks = scratch<Chunk, 2>(std::max<ptrdiff_t>(1, threads));
    float *leaves = scratch<float, 4>(apart ? parts * s.outputs * kernel : 0);
    if (!copies || !chunks || !leaves) return NO_MEMORY;
    auto space_of = [=](int thread) {
        return Workspace{chunks + thread, copies + thread * size, copies + thread * size + CHUNK * BLOCK};
    };
    if (s.depthwise()) {
        parallel(int(threads), parts * slices, [&](ptrdiff_t item, int thread) {
            ptrdiff_t leaf = item / slices, slice = item % slices;
            depthwise_leaf(places.of_leaf(leaf), {s.channels, vectors * slice / slices, vectors * (slice + 1) / slices},
                           space_of(thread), leaves + leaf * s.outputs * kernel);
        });
        add_tree(leaves, parts, s.outputs * kernel);
        transpose(leaves, s.channels, kernel, s.channels, result, kernel);
        return DONE;
    }
    parallel(int(threads), parts * s.groups * blocks * pieces(), [&](ptrdiff_t item, int thread) {
        ptrdiff_t part = item % parts, piece = item / parts % pieces(), block = item / (parts * pieces());
        ptrdiff_t group = block / blocks, output = block % blocks * BLOCK;
        ptrdiff_t number = std::min<ptrdiff_t>(BLOCK, outer - output);
        Outputs outputs{group * outer + output, number, (number + FLOATS - 1) / FLOATS};
        const Places own = apart ? places.of_leaf(part) : places;
        ptrdiff_t tap = piece / of_tap() * taps(), tap_end = std::min(tap + taps(), tiling.taps);
        ptrdiff_t begin = tap * tiling.tiles_of_tap + piece % of_tap() * most;
        ptrdiff_t end = std::min(begin + most, tap_end * tiling.tiles_of_tap);
        Workspace space = space_of(thread);
        sum_tiles(own, tiling, group * inner, outputs, begin, end, space, level_size);
        // Columns are side by side in the result. The copy of the gradient is not needed any more.
        float *sums = space.copy, *next = sums;
        for (ptrdiff_t t = begin; t < end; t++) {
            ptrdiff_t size = tiling.columns(t) * outputs.width();
            finish(space.levels + (t - begin) * level_size, own.batch().leaves(), size, next);
            next += size;
        }
        float *to = (apart ? leaves + part * s.outputs * kernel : result) + outputs.first * kernel + tiling.column(begin);
        transpose(sums, outputs.width(), (next - sums) / outputs.width(), number, to, kernel);
    });
    if (apart) {
        add_tree(leaves, parts, s.outputs * kernel);
        std::copy_n(leaves, s.outputs * kernel, result);
    }
    return DONE;
}

// Leaves first to first + number, one after the other, where some cannot be computed by fewer products.
int by_leaves(ptrdiff_t threads, const Places &places, ptrdiff_t whole, const unsigned char *again,
              ptrdiff_t first, ptrdiff_t number, float *result, float *space) {
    const ptrdiff_t weights = places.shape.outputs * places.shape.channels * 9;
    if (number == 1) {
        Places leaf = places.of_leaf(first);
        unsigned char unused = 0;
        return again[first] ? direct(threads, leaf.shape, whole, leaf.maps, leaf.gradient, result)
                            : run_winograd_weights(threads, leaf.shape, leaf.maps, leaf.gradient, result, &unused);
    }
    const ptrdiff_t left = left_of(number);
    int status = by_leaves(threads, places, whole, again, first, left, result, space);
    if (status == DONE)
        status = by_leaves(threads, places, whole, again, first + left, number - left, space, space + weights);
    for (ptrdiff_t i = 0; i < weights; i++) result[i] += space[i];
    return status;
}

}  // namespace

// result[output][kernel row][kernel column][channel of the group]. The images are a batch, or those of a node of the tree
// over a batch of `whole` images.
EXPORTED int weight_gradient(ptrdiff_t threads, const Shape *shape, ptrdiff_t whole, const float *maps,
                             const float *gradient, float *result) {
    const Shape &s = *shape;
    if (!s.valid() || whole < s.images) return NONSENSE;
    FloatingPoint state;  // for the sums over leaves on this thread
    if (method_of(s, OF_WEIGHTS) == DIRECT) return direct(threads, s, whole, maps, gradient, result);
    const Places places(s, whole, maps, gradient);
    const ptrdiff_t leaves = places.batch().leaves();
    unsigned char *again = scratch<unsigned char, 6>(leaves);
    if (!again) return NO_MEMORY;
    std::fill_n(again, leaves, 0);
    int status = run_winograd_weights(threads, s, maps, gradient, result, again);
    if (status != DONE || std::find(again, again + leaves, 1) == again + leaves) return status;
    ptrdiff_t depth = 1;
    while (leaves >> depth) depth++;
    float *space = scratch<float, 8>(depth * s.outputs * s.channels * 9);
    return space ? by_leaves(threads, places, whole, again, 0, leaves, result, space) : NO_MEMORY;
}

// Sums of the gradient over the images and positions of each leaf: leaves[leaf][output], beside as many unused values.
EXPORTED int bias_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t outputs,
                         const float *gradient, double *leaves) {
    if (images < 1 || positions < 1 || outputs < 1) return NONSENSE;
    return sum_leaves({images, positions}, 2 * outputs, leaves, [&](const Batch &batch, double *sums) {
        sum_segments(threads, batch, {0, batch.segments()}, outputs, sums,
                     [=](ptrdiff_t row, ptrdiff_t output, ptrdiff_t lanes, Doubles *sum, Doubles *)
                         __attribute__((always_inline)) {
                             Wide value(load_lanes(gradient + row * outputs + output, lanes));
                             sum[0] += value.lower, sum[1] += value.upper;
                         });
    });
}
