// Gradients of weights by fewer products.
//
// The maps and the gradient of their results are cut into the same tiles, and turned into as many values as the scheme has
// points. At each point, the sum over the tiles of a leaf is the chain over sections of 64 tiles of chains from 0 over parts of 8;
// the sums of a leaf are turned into its gradient, and leaves are added along the tree.

#include "panels.hpp"
#include "winograd.hpp"

using namespace arithmetic;

namespace {

typedef Scheme<Two, Two> S;

constexpr ptrdiff_t PART = 8, TILES = 64;  // tiles of a part, and those that are transformed and summed at a time
constexpr ptrdiff_t LEAST = 16;             // channels, or outputs, of a piece
constexpr ptrdiff_t BETWEEN = 1 << 18;      // weights of all leaves together that are summed apart

// Some outputs and channels.
struct Piece {
    ptrdiff_t output, outputs, channel, channels;
};

// A tile's values of the gradient at all points: to + point x point_step.
void transform_gradient(const Tiles<S> &tiles, ptrdiff_t tile, const float *gradient, const Piece &piece, float *to,
                        ptrdiff_t point_step) {
    constexpr int HIGH = S::Rows::GIVES, WIDE = S::Columns::GIVES;
    const Pass &pass = tiles.pass;
    const auto [image, row, column] = tiles.corner(tile);
    const float *from = gradient + ((image * pass.rows + row) * pass.columns + column) * pass.outputs() + piece.output;
    const int high = int(std::min<ptrdiff_t>(HIGH, pass.rows - row));
    const int wide = int(std::min<ptrdiff_t>(WIDE, pass.columns - column));
    each_vector(piece.outputs, [&](ptrdiff_t output, ptrdiff_t lanes) __attribute__((always_inline)) {
        Floats y[HIGH][WIDE];
        Values<S> values;
        const float *at = from + output;
#pragma GCC unroll 8
        for (int i = 0; i < HIGH; i++)
#pragma GCC unroll 8
            for (int j = 0; j < WIDE; j++)
                y[i][j] = i < high && j < wide ? load_lanes(at + (i * pass.columns + j) * pass.outputs(), lanes) : Floats{};
        // What the next tile needs.
#pragma GCC unroll 8
        for (int i = 0; i < HIGH; i++)
#pragma GCC unroll 8
            for (int j = 0; j < WIDE; j++) __builtin_prefetch(at + (i * pass.columns + j + WIDE) * pass.outputs());
        S::gradient(y, values.at);
        values.store(to + output, point_step);
    });
}

// The gradient of a piece's weights, to[output][tap][UNIT], from the sums at all points; returns whether all are finite.
bool transform_sums(const Piece &piece, const float *sums, ptrdiff_t point_step, float *to) {
    Floats finite{};
    for (ptrdiff_t output = 0; output < piece.outputs; output++)
        for (ptrdiff_t channel = 0; channel < piece.channels; channel += FLOATS) {
            Values<S> values;
            Floats g[3][3];
            values.load(sums + output * UNIT + channel, point_step);
            S::weight_gradient(values.at, g);
#pragma GCC unroll 9
            for (int tap = 0; tap < 9; tap++) {
                finite = arithmetic::fma(g[tap / 3][tap % 3], Floats{}, finite);
                store(to + (output * 9 + tap) * UNIT + channel, g[tap / 3][tap % 3]);
            }
        }
    return were_finite(finite);
}

struct Space {
    static constexpr ptrdiff_t VALUES_STEP = TILES * UNIT + APART, SUMS_STEP = UNIT * UNIT + APART;
    static constexpr ptrdiff_t LEVEL = UNIT * 9 * UNIT;
    float *values, *gradient, *sums, *levels;

    static ptrdiff_t size(ptrdiff_t levels) { return S::POINTS * (2 * VALUES_STEP + SUMS_STEP) + levels * LEVEL; }
    explicit Space(float *at)
        : values(at), gradient(values + S::POINTS * VALUES_STEP), sums(gradient + S::POINTS * VALUES_STEP),
          levels(sums + S::POINTS * SUMS_STEP) {}
};

// A piece's gradient over tiles begin to end, those of a leaf, to[output][tap][UNIT]; returns whether it is finite.
bool sum_leaf(const Tiles<S> &tiles, ptrdiff_t begin, ptrdiff_t end, const float *gradient, const Piece &piece,
              const float *zeros, const Space &space, float *to) {
    constexpr ptrdiff_t VALUES_STEP = Space::VALUES_STEP, SUMS_STEP = Space::SUMS_STEP;
    for (ptrdiff_t first = begin; first < end; first += TILES) {
        ptrdiff_t number = std::min(TILES, end - first);
        for (ptrdiff_t i = 0; i < number; i++) {
            transform_map(tiles, first + i, piece.channel, piece.channels, zeros, space.values + i * UNIT, 0, VALUES_STEP);
            transform_gradient(tiles, first + i, gradient, piece, space.gradient + i * UNIT, VALUES_STEP);
        }
        for (int point = 0; point < S::POINTS; point++)
            for (ptrdiff_t at = 0; at < piece.channels; at += BLOCK) {
                ptrdiff_t vectors = (std::min<ptrdiff_t>(BLOCK, piece.channels - at) + FLOATS - 1) / FLOATS;
                panels({space.gradient + point * VALUES_STEP, 1, UNIT}, piece.outputs,
                       space.values + point * VALUES_STEP + at, UNIT, vectors, number, PART,
                       space.sums + point * SUMS_STEP + at, UNIT, first > begin);
            }
    }
    return transform_sums(piece, space.sums, SUMS_STEP, to);
}

}  // namespace

int arithmetic::run_winograd_weights(ptrdiff_t threads, const Shape &s, const float *maps, const float *gradient,
                                     float *result, unsigned char *again) {
    const Pass pass{maps, s.images, s.height, s.width, s.channels, s.rows(), s.columns(), 1, 1, -s.padding_top,
                    -s.padding_left, 3, 3, 1, s.channels, s.outputs, nullptr, 0, 0, 0, nullptr};
    const Tiles<S> tiles{pass};
    const Batch batch{s.images, tiles.down * tiles.across};
    // Pieces of at most a unit in both directions, smaller ones where there would be too few for the threads.
    const ptrdiff_t weights = 9 * s.channels * s.outputs;
    ptrdiff_t high = UNIT, wide = UNIT;
    auto pieces = [&] { return (s.outputs + high - 1) / high * ((s.channels + wide - 1) / wide); };
    const bool apart = pieces() < threads && weights * batch.leaves() <= BETWEEN;
    const ptrdiff_t parts = apart ? batch.leaves() : 1;
    while (parts * pieces() < threads && (high > LEAST || wide > LEAST)) wide > LEAST && wide >= high ? wide /= 2 : high /= 2;
    ptrdiff_t depth = 2;  // sums that may wait, and the leaf's
    while (batch.leaves() >> (depth - 1)) depth++;
    float *copies = scratch<float, 3>(std::max<ptrdiff_t>(1, threads) * Space::size(depth));
    float *leaves = scratch<float, 4>(apart ? parts * weights : 0);
    float *zeros = scratch<float, 5>(rounded_up(s.channels, FLOATS));
    if (!copies || !leaves || !zeros) return NO_MEMORY;
    std::fill_n(zeros, s.channels, 0.0f);
    parallel(int(threads), parts * pieces(), [&](ptrdiff_t item, int thread) {
        ptrdiff_t part = item % parts, across = (s.channels + wide - 1) / wide;
        ptrdiff_t output = item / parts / across * high, channel = item / parts % across * wide;
        Piece piece{output, std::min(high, s.outputs - output), channel, std::min(wide, s.channels - channel)};
        Space space(copies + thread * Space::size(depth));
        auto for_rows = [&](auto &&f) {
            for (ptrdiff_t row = 0; row < piece.outputs * 9; row++) f(row * UNIT);
        };
        auto add = [&](float *to, const float *values) {
            for (ptrdiff_t i = 0; i < piece.channels; i++) to[i] += values[i];
        };
        ptrdiff_t first = apart ? part : 0, number = apart ? 1 : batch.leaves();
        for (ptrdiff_t leaf = 0; leaf < number; leaf++) {
            float *sum = space.levels + waiting(leaf) * Space::LEVEL;
            if (!sum_leaf(tiles, batch.begin(first + leaf), batch.begin(first + leaf + 1), gradient, piece, zeros, space, sum))
                __atomic_store_n(again + first + leaf, 1, __ATOMIC_RELAXED);
            for (ptrdiff_t rest = leaf; rest & 1; rest >>= 1, sum -= Space::LEVEL)
                for_rows([&](ptrdiff_t row) { add(sum - Space::LEVEL + row, sum + row); });
        }
        // The sums that still wait are added from the right.
        float *to = (apart ? leaves + part * weights : result) + piece.output * 9 * s.channels + piece.channel;
        const float *last = space.levels + (waiting(number) - 1) * Space::LEVEL;
        for_rows([&](ptrdiff_t row) {
            float *total = to + row / UNIT * s.channels;
            std::copy_n(last + row, piece.channels, total);
            for (const float *level = last; level != space.levels;) level -= Space::LEVEL, add(total, level + row);
        });
    });
    if (apart) {
        add_tree(leaves, parts, weights);
        std::copy_n(leaves, weights, result);
    }
    return DONE;
}
