// centred^T centred in float64, the sum behind a covariance.
//
// The rows are cut into segments of 32. In a segment an element is a chain over its rows of fused products from zero;
// the segments are added in order. Element (j, i) is element (i, j), whose products have the same two factors.

#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

// A tile of LEFT x VECTORS sums in registers; WIDTH columns stand side by side in a panel of packed rows.
constexpr int VECTORS = BYTES == 16 ? 4 : 3, LEFT = BYTES == 64 ? 8 : 4, WIDTH = VECTORS * DOUBLES;
constexpr ptrdiff_t ROWS = 32;     // of a segment
constexpr ptrdiff_t SEGMENTS = 8;  // of a panel, which stays in the second cache
static_assert(WIDTH % LEFT == 0, "a tile's columns are in one panel");

// Adds a segment of two panels to sums[LEFT][WIDTH], or sets them to the first.
[[gnu::always_inline]] inline void tile(const double *left, const double *right, ptrdiff_t rows, bool first,
                                        double *sums) {
    Doubles chains[LEFT][VECTORS] = {};
    for (ptrdiff_t row = 0; row < rows; row++, left += WIDTH, right += WIDTH) {
        Doubles wide[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) wide[v] = load<Doubles>(right + v * DOUBLES);
#pragma GCC unroll 8
        for (int i = 0; i < LEFT; i++) {
            Doubles value = broadcast(left[i]);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) chains[i][v] = arithmetic::fma(value, wide[v], chains[i][v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < LEFT; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            double *to = sums + i * WIDTH + v * DOUBLES;
            store(to, first ? chains[i][v] : load<Doubles>(to) + chains[i][v]);
        }
}

// to[row][WIDTH]; columns past the last are zero.
void pack(const double *from, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t first, double *to) {
    ptrdiff_t number = std::min<ptrdiff_t>(WIDTH, columns - first);
    for (ptrdiff_t row = 0; row < rows; row++, to += WIDTH) {
        std::copy_n(from + row * columns + first, number, to);
        std::fill_n(to + number, WIDTH - number, 0.0);
    }
}

// Panels i <= j of the pair with that number, counted 00, 01, 11, 02, 12, 22, ...
struct Pair {
    ptrdiff_t i, j;

    explicit Pair(ptrdiff_t number) : j(ptrdiff_t((std::sqrt(8.0 * double(number) + 1) - 1) / 2)) {
        while (j * (j + 1) / 2 > number) j--;
        while ((j + 1) * (j + 2) / 2 <= number) j++;
        i = number - j * (j + 1) / 2;
    }
};

void unpack(const Pair &pair, const double *sums, ptrdiff_t columns, double *result) {
    for (ptrdiff_t a = 0, i = pair.i * WIDTH; a < WIDTH && i < columns; a++, i++)
        for (ptrdiff_t b = 0, j = pair.j * WIDTH; b < WIDTH && j < columns; b++, j++)
            result[i * columns + j] = result[j * columns + i] = sums[a * WIDTH + b];
}

}  // namespace

// rows[row][column] -> result[column][column].
EXPORTED int product(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t columns, const double *values, double *result) {
    if (rows < 0 || columns < 1) return NONSENSE;
    constexpr ptrdiff_t PANEL = SEGMENTS * ROWS;
    ptrdiff_t panels = (columns + WIDTH - 1) / WIDTH, pairs = panels * (panels + 1) / 2;
    Memory<double> packed(panels * PANEL * WIDTH), sums(pairs * WIDTH * WIDTH);
    if (!packed || !sums) return NO_MEMORY;
    // Without rows one empty segment.
    for (ptrdiff_t first = 0; first == 0 || first < rows; first += PANEL) {
        ptrdiff_t number = std::min(PANEL, rows - first);
        parallel(int(threads), panels, [&](ptrdiff_t panel, int) {
            pack(values + first * columns, number, columns, panel * WIDTH, packed + panel * PANEL * WIDTH);
        });
        parallel(int(threads), pairs, [&](ptrdiff_t item, int) {
            Pair pair(item);
            const double *left = packed + pair.i * PANEL * WIDTH, *right = packed + pair.j * PANEL * WIDTH;
            for (ptrdiff_t row = 0; row == 0 || row < number; row += ROWS)
                for (int i = 0; i < WIDTH; i += LEFT)
                    tile(left + row * WIDTH + i, right + row * WIDTH, std::min(ROWS, number - row), first + row == 0,
                         sums + (item * WIDTH + i) * WIDTH);
        });
    }
    parallel(int(threads), pairs,
             [&](ptrdiff_t item, int) { unpack(Pair(item), sums + item * WIDTH * WIDTH, columns, result); });
    return DONE;
}
