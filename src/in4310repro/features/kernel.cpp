// Statistics of float32 feature maps in one pass over memory: counts, spatial means, products of all pairs of channels;
// histograms and the peaks of channels in a pass each.
//
// Every number that leaves here is a function of the values alone, to the bit: not of their layout in memory, nor of
// the number of threads, nor of the instruction set, as long as it has a fused product and sum (and no thread flushes
// denormal numbers). Each sum is a chain of the same operations in the same order, whatever the width of a vector and
// the shape of a tile.
// setup.py compiles this file once for each instruction set; kernel.py picks one, and declares what is EXPORTED.

#include "../arithmetic/transpose.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

using arithmetic::BYTES, arithmetic::DOUBLES, arithmetic::FLOATS;
using arithmetic::Doubles, arithmetic::Floats, arithmetic::Ints;
using arithmetic::load, arithmetic::transpose;

namespace {

// Columns of a register tile in vectors, and its rows by the number of columns. Tiles fill the registers with sums: 16
// to 24 of 32, or 12 of 16.
#if defined(__AVX512F__)
constexpr int COLUMNS = 4, HEIGHT[] = {0, 16, 8, 8, 4};
#elif defined(__AVX2__)
constexpr int COLUMNS = 3, HEIGHT[] = {0, 8, 4, 4};
#else
constexpr int COLUMNS = 2, HEIGHT[] = {0, 4, 4};
#endif

typedef double Pair __attribute__((vector_size(2 * BYTES)));

constexpr int32_t INFINITE = 0x7f800000;       // bits of the infinite float; those of nan are above
constexpr int LANES = 16;                      // partial sums of a spatial mean
constexpr ptrdiff_t TURNS = 4;                 // values added to such a sum while it is in a register
constexpr ptrdiff_t ROWS = 256;                // positions packed at a time
constexpr ptrdiff_t CHAIN = 64;                // products added one by one: the error of a sum grows with its length
constexpr ptrdiff_t PANEL = ROWS + 1;          // one more, or all panels would compete for the same lines of the cache
// Products of two channels whose largest values lie between these bounds, and sums of them, are floats without loss.
constexpr int32_t SMALL = (127 - 50) << 23, LARGE = (127 + 50) << 23;  // bits of 2^-50 and 2^50
constexpr ptrdiff_t RUN = 1 << 16;             // values that a thread counts at a time
constexpr ptrdiff_t AHEAD = 8192;              // values to fetch into the second cache; the processor looks less far
// Bins of a histogram: zero, then by exponent and the five leading bits of the fraction, then what is not finite; those
// of negative values are SIDE further. Neighbours are counted in different tables, for a counter waits for itself.
constexpr int DROPPED = 18;                    // bits of a float that no bin depends on
constexpr int32_t SIDE = 1 << 13;
constexpr ptrdiff_t BINS = 2 * SIDE, TABLES = 4;
// How products are shared out: segments have 512 positions or more, and what they add up takes 64 MB at most; slices
// are every n-th group of columns, for matrices too large for many segments.
constexpr ptrdiff_t SEGMENTS = 32, POSITIONS = 512, BUFFERED = 64 << 20, SLICE = 512;

// As kernel.py hands it over; channel_stride or position_stride is 1.
struct Maps {
    const float *data;
    ptrdiff_t images, channels, positions;
    ptrdiff_t image_stride, channel_stride, position_stride;

    const float *at(ptrdiff_t image, ptrdiff_t channel, ptrdiff_t position) const {
        return data + image * image_stride + channel * channel_stride + position * position_stride;
    }
};

struct Wide {
    Doubles lower, upper;

    // Both halves at once: gcc makes twice the instructions of one half.
    [[gnu::always_inline]] explicit Wide(Floats values) {
        Pair pair = __builtin_convertvector(values, Pair);
        std::memcpy(this, &pair, sizeof pair);
    }
};

struct Counts {
    int64_t non_positive = 0, zeros = 0, non_finite = 0, left_out = 0;

    void operator+=(const Counts &other) {
        non_positive += other.non_positive;
        zeros += other.zeros;
        non_finite += other.non_finite;
        left_out += other.left_out;
    }
    void operator+=(float value) {
        int32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        int32_t magnitude = bits & INT32_MAX;
        non_positive += bits <= 0 && magnitude <= INFINITE;
        zeros += magnitude == 0;
        non_finite += magnitude >= INFINITE;
    }
};

// Counts by the bits of the values, which is right as long as all are finite; whether they are is what it tells too.
struct Tally {
    Ints positive{}, zeros{}, largest{};  // a comparison that holds is -1
    int64_t values = 0, padding = 0;      // zeros that fill a vector

    [[gnu::always_inline]] void add(Ints bits) {
        Ints magnitude = bits & INT32_MAX;
        positive += bits > 0;
        zeros += magnitude == 0;
        largest = magnitude > largest ? magnitude : largest;
    }
    // `end` is where memory ends.
    [[gnu::always_inline]] void add(const float *from, ptrdiff_t number, const float *end) {
        values += number;
        ptrdiff_t k = 0;
        for (; k + 16 <= number; k += 16) {
            __builtin_prefetch(from + k + AHEAD, 0, 2);
            for (int part = 0; part < 16; part += FLOATS) add(load<Ints>(from + k + part));
        }
        for (; k < number; k += FLOATS) first(from + k, std::min<ptrdiff_t>(FLOATS, number - k), end);
    }
    // Counts and gives the first values of a vector. To read on and forget is faster than to copy a few.
    [[gnu::always_inline]] Floats first(const float *from, ptrdiff_t number, const float *end) {
        Ints bits{}, lane{};
        for (int i = 0; i < FLOATS; i++) lane[i] = i;
        if (end - from < FLOATS)
            std::memcpy(&bits, from, number * sizeof *from);
        else
            bits = load<Ints>(from) & (lane < int32_t(number));
        add(bits);
        padding += FLOATS - number;
        return load<Floats>(&bits);
    }
    bool finite() const {
        bool all = true;
        for (int lane = 0; lane < FLOATS; lane++) all &= largest[lane] < INFINITE;
        return all;
    }
    Counts counts() const {
        Counts sum{values, -padding};
        for (int lane = 0; lane < FLOATS; lane++) {
            sum.non_positive += positive[lane];
            sum.zeros -= zeros[lane];
        }
        return sum;
    }
};

// Values of one image at some positions; in the order of memory where that is one run.
[[gnu::always_inline]] inline void tally(const Maps &maps, const float *first, ptrdiff_t positions, Tally &found) {
    bool rows = maps.channel_stride == 1, whole = rows && maps.position_stride == maps.channels;
    ptrdiff_t runs = whole ? 1 : rows ? positions : maps.channels;
    ptrdiff_t length = whole ? positions * maps.channels : rows ? maps.channels : positions;
    ptrdiff_t step = rows ? maps.position_stride : maps.channel_stride;
    const float *end = first + (runs - 1) * step + length;
    for (ptrdiff_t run = 0; run < runs; run++) found.add(first + run * step, length, end);
}

// Lane 0 plus lane 8, and so on: halves are added until one is left.
template <typename T>
[[gnu::always_inline]] inline T folded(T (&sums)[LANES]) {
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2)
#pragma GCC unroll 8
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}

// The mean less the shift. A double holds the sum of 2^29 floats of one size, and the product: nothing is lost.
double mean_of(double sum, float shift, ptrdiff_t positions) { return (sum - double(shift) * positions) / positions; }

// Counts FLOATS values, or fewer and zeros, and adds them to the sums of two vectors.
[[gnu::always_inline]] inline void take(const float *from, ptrdiff_t number, const float *end, Tally &found,
                                        Doubles &lower, Doubles &upper) {
    __builtin_prefetch(from + AHEAD, 0, 2);
    if (number >= FLOATS) found.add(load<Ints>(from));
    Wide values(number >= FLOATS ? load<Floats>(from) : found.first(from, number, end));
    lower += values.lower;
    upper += values.upper;
}

// Lane l sums positions l, l + 16, l + 32, ... of a channel.
[[gnu::always_inline]] inline Tally means_of_runs(const Maps &maps, ptrdiff_t image, const float *shift, double *means) {
    Tally found;
    const float *end = maps.at(image, maps.channels - 1, maps.positions);
    for (ptrdiff_t channel = 0; channel < maps.channels; channel++) {
        const float *from = maps.at(image, channel, 0);
        double lanes[LANES];
        Doubles parts[LANES / DOUBLES] = {};
        ptrdiff_t left = maps.positions;
        for (; left >= LANES; left -= LANES, from += LANES)
            for (int part = 0; part < LANES / FLOATS; part++)
                take(from + part * FLOATS, FLOATS, end, found, parts[2 * part], parts[2 * part + 1]);
        for (int part = 0; part < LANES / FLOATS && left > part * FLOATS; part++)
            take(from + part * FLOATS, left - part * FLOATS, end, found, parts[2 * part], parts[2 * part + 1]);
        std::memcpy(lanes, parts, sizeof lanes);
        means[channel] = mean_of(folded(lanes), shift[channel], maps.positions);
    }
    return found;
}

// The same sums where a row has all channels of a position. `sums` is working memory, 16 rows of `width` channels.
// The TURNS next positions of a lane are added one after the other, so that its sums are loaded and stored once.
[[gnu::always_inline]] inline Tally means_of_rows(const Maps &maps, ptrdiff_t image, const float *shift, double *means,
                                                  double *sums, ptrdiff_t width) {
    Tally found;
    std::fill_n(sums, LANES * width, 0.0);
    ptrdiff_t step = LANES * maps.position_stride;
    const float *end = maps.at(image, maps.channels, maps.positions - 1);
    for (ptrdiff_t first = 0; first < maps.positions; first += TURNS * LANES)
        for (ptrdiff_t position = first; position < std::min(first + LANES, maps.positions); position++) {
            ptrdiff_t turns = std::min(TURNS, (maps.positions - position + LANES - 1) / LANES);
            const float *from = maps.at(image, 0, position);
            double *to = sums + (position - first) * width;
            auto add = [&](ptrdiff_t channel, ptrdiff_t number) __attribute__((always_inline)) {
                Doubles lower = load<Doubles>(to + channel), upper = load<Doubles>(to + channel + DOUBLES);
                for (ptrdiff_t turn = 0; turn < turns; turn++)
                    take(from + turn * step + channel, number, end, found, lower, upper);
                std::memcpy(to + channel, &lower, BYTES);
                std::memcpy(to + channel + DOUBLES, &upper, BYTES);
            };
            ptrdiff_t channel = 0;
            for (; channel + FLOATS <= maps.channels; channel += FLOATS) add(channel, FLOATS);
            if (channel < maps.channels) add(channel, maps.channels - channel);
        }
    for (ptrdiff_t first = 0; first < maps.channels; first += DOUBLES) {
        Doubles lanes[LANES];
        for (int lane = 0; lane < LANES; lane++) lanes[lane] = load<Doubles>(sums + lane * width + first);
        Doubles sum = folded(lanes);
        for (ptrdiff_t channel = first; channel < std::min(first + DOUBLES, maps.channels); channel++)
            means[channel] = mean_of(sum[channel - first], shift[channel], maps.positions);
    }
    return found;
}

Counts image_means(const Maps &maps, ptrdiff_t image, const float *shift, double *means, double *sums, ptrdiff_t width) {
    Tally found = maps.channel_stride == 1 ? means_of_rows(maps, image, shift, means, sums, width)
                                           : means_of_runs(maps, image, shift, means);
    found.values = maps.positions * maps.channels;
    // A sum of doubles keeps what is not finite; looking at each value costs more.
    if (std::all_of(means, means + maps.channels, [](double mean) { return std::isfinite(mean); })) return found.counts();
    Counts counts;
    for (ptrdiff_t channel = 0; channel < maps.channels; channel++)
        for (ptrdiff_t position = 0; position < maps.positions; position++)
            counts += *maps.at(image, channel, position);
    return counts;
}

// Panels hold FLOATS or DOUBLES channels each: panel, row, channel. These put FLOATS channels of a row in its place.
inline void put(float *panels, ptrdiff_t channel, ptrdiff_t row, Floats values, const float *shift) {
    values -= load<Floats>(shift + channel);
    std::memcpy(panels + channel * PANEL + row * FLOATS, &values, BYTES);
}
inline void put(double *panels, ptrdiff_t channel, ptrdiff_t row, Floats values, const float *shift) {
    Wide wide(values), less(load<Floats>(shift + channel));
    Doubles lower = wide.lower - less.lower, upper = wide.upper - less.upper;
    std::memcpy(panels + channel * PANEL + row * DOUBLES, &lower, BYTES);
    std::memcpy(panels + (channel + DOUBLES) * PANEL + row * DOUBLES, &upper, BYTES);
}

template <typename T>
void pack_rows(const Maps &maps, const float *from, ptrdiff_t positions, const float *shift, T *panels, ptrdiff_t row) {
    for (ptrdiff_t last = row + positions; row < last; row++, from += maps.position_stride) {
        ptrdiff_t channel = 0;
        for (; channel + FLOATS <= maps.channels; channel += FLOATS)
            put(panels, channel, row, load<Floats>(from + channel), shift);
        if (channel < maps.channels) {
            Floats rest{};
            std::memcpy(&rest, from + channel, (maps.channels - channel) * sizeof *from);
            put(panels, channel, row, rest, shift);
        }
    }
}

template <typename T>
void pack_runs(const Maps &maps, const float *from, ptrdiff_t positions, const float *shift, T *panels, ptrdiff_t row) {
    ptrdiff_t step = maps.channel_stride;
    for (ptrdiff_t channel = 0; channel < maps.channels; channel += FLOATS, from += FLOATS * step) {
        ptrdiff_t wide = std::min<ptrdiff_t>(FLOATS, maps.channels - channel), first = 0;
        Floats square[FLOATS];
        if (wide == FLOATS)
            for (; first + FLOATS <= positions; first += FLOATS) {
#pragma GCC unroll 16
                for (int i = 0; i < FLOATS; i++) square[i] = load<Floats>(from + i * step + first);
                transpose(square);
#pragma GCC unroll 16
                for (int i = 0; i < FLOATS; i++) put(panels, channel, row + first + i, square[i], shift);
            }
        for (; first < positions; first += FLOATS) {
            ptrdiff_t high = std::min<ptrdiff_t>(FLOATS, positions - first);
            std::fill_n(square, FLOATS, Floats{});
            for (ptrdiff_t i = 0; i < wide; i++) std::memcpy(square + i, from + i * step + first, high * sizeof *from);
            transpose(square);
            for (ptrdiff_t i = 0; i < high; i++) put(panels, channel, row + first + i, square[i], shift);
        }
    }
}

// Counts by comparing, for rows with values that are not finite; such rows become zeros and are left out.
template <typename T>
Counts cleared(const Maps &maps, ptrdiff_t first, ptrdiff_t rows, T *panels) {
    constexpr int WIDTH = BYTES / sizeof(T);
    Counts counts;
    for (ptrdiff_t row = 0; row < rows; row++) {
        Counts own;
        for (ptrdiff_t channel = 0; channel < maps.channels; channel++)
            own += *maps.at((first + row) / maps.positions, channel, (first + row) % maps.positions);
        if (own.non_finite) {
            own.left_out = 1;
            for (ptrdiff_t channel = 0; channel < maps.channels; channel++)
                panels[channel / WIDTH * WIDTH * PANEL + row * WIDTH + channel % WIDTH] = 0;
        }
        counts += own;
    }
    return counts;
}

// out[i][j] += sum over rows of left[i] right[j], for HIGH channels of one panel and WIDE whole panels. Where channels
// were scaled, by what their sums are multiplied: of row i and column j.
struct Units {
    const double *row, *column;  // null where none was
};
template <typename V, int HIGH, int WIDE, typename T>
void tile(ptrdiff_t rows, const T *left, const T *right, double *out, ptrdiff_t leading, Units units) {
    constexpr int WIDTH = BYTES / sizeof(T);
    T total[HIGH][WIDE][WIDTH] = {};
    for (ptrdiff_t row = 0, stop; row < rows;) {
        V sums[HIGH][WIDE];
        for (int i = 0; i < HIGH; i++)
            for (int j = 0; j < WIDE; j++) sums[i][j] = V{};
        for (stop = std::min(row + CHAIN, rows); row < stop; row++) {
            V factors[WIDE];
            for (int j = 0; j < WIDE; j++) factors[j] = load<V>(right + (j * PANEL + row) * WIDTH);
            for (int i = 0; i < HIGH; i++)
                for (int j = 0; j < WIDE; j++) sums[i][j] += left[row * WIDTH + i] * factors[j];
        }
        for (int i = 0; i < HIGH; i++)
            for (int j = 0; j < WIDE; j++) {
                V sum = load<V>(total[i][j]) + sums[i][j];
                std::memcpy(total[i][j], &sum, BYTES);
            }
    }
    if (units.row) {
        for (int i = 0; i < HIGH; i++)
            for (int k = 0; k < WIDE * WIDTH; k++)
                out[i * leading + k] += total[i][k / WIDTH][k % WIDTH] * (units.row[i] * units.column[k]);
        return;
    }
    for (int i = 0; i < HIGH; i++)
        for (int j = 0; j < WIDE; j++)
            for (int lane = 0; lane < WIDTH; lane++) out[i * leading + j * WIDTH + lane] += total[i][j][lane];
}

template <typename V, int WIDE, typename T>
void strip(ptrdiff_t rows, const T *left, const T *right, double *out, ptrdiff_t leading, Units units) {
    constexpr int WIDTH = BYTES / sizeof(T), HIGH = std::min(HEIGHT[WIDE], WIDTH);
    for (int i = 0; i < WIDTH; i += HIGH) {
        tile<V, HIGH, WIDE>(rows, left + i, right, out + i * leading, leading, units);
        if (units.row) units.row += HIGH;
    }
}

// A slice of the upper triangle, by panels: a group of columns stays in the cache for all rows above it.
template <typename V, typename T>
void products(ptrdiff_t rows, ptrdiff_t count, const T *panels, double *out, ptrdiff_t leading, ptrdiff_t slice,
              ptrdiff_t slices, const double *units) {
    constexpr int WIDTH = BYTES / sizeof(T);
    for (ptrdiff_t group = slice * COLUMNS; group < count; group += slices * COLUMNS)
        for (ptrdiff_t i = 0, stop = std::min(group + COLUMNS, count); i < stop; i++) {
            ptrdiff_t j = std::max(i, group);
            const T *left = panels + i * PANEL * WIDTH, *right = panels + j * PANEL * WIDTH;
            double *corner = out + (i * leading + j) * WIDTH;
            Units own = units ? Units{units + i * WIDTH, units + j * WIDTH} : Units{};
            switch (stop - j) {
                case 1: strip<V, 1>(rows, left, right, corner, leading, own); break;
                case 2: strip<V, 2>(rows, left, right, corner, leading, own); break;
#if defined(__AVX2__)
                case 3: strip<V, 3>(rows, left, right, corner, leading, own); break;
#endif
#if defined(__AVX512F__)
                case 4: strip<V, 4>(rows, left, right, corner, leading, own); break;
#endif
            }
        }
}

// The sum of a panel's rows; `outside` gets the lanes whose largest magnitude is out of bounds.
template <typename V, typename T>
[[gnu::always_inline]] inline V panel_sum(ptrdiff_t rows, const T *panel, Ints &outside) {
    constexpr int WIDTH = BYTES / sizeof(T);
    V parts[4] = {};  // rows 0, 4, 8, ...; 1, 5, 9, ...; and so on
    Ints peak{};      // the order of magnitudes is that of their bits
    auto add = [&](ptrdiff_t row, int part) __attribute__((always_inline)) {
        V values = load<V>(panel + row * WIDTH);
        parts[part] += values;
        if constexpr (sizeof(T) == sizeof(float)) {
            Ints magnitude = load<Ints>(&values) & INT32_MAX;
            peak = magnitude > peak ? magnitude : peak;
        }
    };
    ptrdiff_t row = 0;
    for (; row + 4 <= rows; row += 4)
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++) add(row + part, part);
    for (int part = 0; row < rows; row++, part++) add(row, part);
    outside |= ((peak > 0) & (peak < SMALL)) | (peak > LARGE);
    return (parts[0] + parts[2]) + (parts[1] + parts[3]);
}

inline bool in_bounds(float magnitude) {
    int32_t bits;
    std::memcpy(&bits, &magnitude, sizeof bits);
    return bits == 0 || (bits >= SMALL && bits <= LARGE);
}

// Multiplies the channels of a panel whose values are out of bounds by a power of two; units: by what their sums are to
// be multiplied. Rows that are left out stay zero; a difference that is none is zero, and no other one is.
template <typename T>
void rescale(const Maps &maps, ptrdiff_t first, ptrdiff_t rows, const float *shift, T *panels, ptrdiff_t panel,
             double *units) {
    constexpr int WIDTH = BYTES / sizeof(T);
    for (ptrdiff_t lane = 0, channel; lane < WIDTH && (channel = panel * WIDTH + lane) < maps.channels; lane++) {
        T *values = panels + panel * PANEL * WIDTH + lane, peak = 0;
        for (ptrdiff_t row = 0; row < rows; row++) peak = std::max(peak, std::abs(values[row * WIDTH]));
        if (in_bounds(peak)) continue;
        // The difference of two floats may be infinite; that of their fourths is not.
        int exponent = std::isinf(peak) ? 128 : std::ilogb(peak);
        for (ptrdiff_t row = 0; row < rows; row++) {
            if (values[row * WIDTH] == 0) continue;
            float value = *maps.at((first + row) / maps.positions, channel, (first + row) % maps.positions);
            values[row * WIDTH] = float(std::ldexp(double(value) - double(shift[channel]), -exponent));
        }
        units[channel] = std::ldexp(1.0, exponent);
    }
}

// Adds the sums of all panels, unless there is nowhere to add them; true where a channel was scaled.
// `own` is working memory.
template <typename V, typename T>
bool panel_sums(const Maps &maps, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t count, const float *shift, T *panels,
                double *units, T *own, double *sums) {
    constexpr int WIDTH = BYTES / sizeof(T);
    auto sum_up = [&] {
        Ints outside{};
        for (ptrdiff_t panel = 0; panel < count; panel++) {
            V sum = panel_sum<V>(rows, panels + panel * PANEL * WIDTH, outside);
            std::memcpy(own + panel * WIDTH, &sum, BYTES);
        }
        int any = 0;
        for (int lane = 0; lane < FLOATS; lane++) any |= outside[lane];
        return any != 0;
    };
    bool scaled = sum_up();
    if (scaled) {
        std::fill_n(units, count * WIDTH, 1.0);
        for (ptrdiff_t panel = 0; panel < count; panel++) rescale(maps, first, rows, shift, panels, panel, units);
        sum_up();
    }
    for (ptrdiff_t channel = 0; sums && channel < count * WIDTH; channel++)
        sums[channel] += scaled ? own[channel] * units[channel] : double(own[channel]);
    return scaled;
}

// Adds a slice of the products of rows first..stop-1 of all (image, position), and with slice 0 their sums.
template <typename V, typename T>
Counts segment(const Maps &maps, const float *shift, ptrdiff_t first, ptrdiff_t stop, void *memory, double *sums,
               double *out, ptrdiff_t leading, ptrdiff_t slice, ptrdiff_t slices) {
    constexpr int WIDTH = BYTES / sizeof(T);
    T *panels = static_cast<T *>(memory);
    double *units = reinterpret_cast<double *>(panels + leading * PANEL);
    T *own = reinterpret_cast<T *>(units + leading);
    ptrdiff_t count = (maps.channels + FLOATS - 1) / FLOATS * FLOATS / WIDTH;
    Counts counts;
    for (ptrdiff_t rows; first < stop; first += rows) {
        rows = std::min(ROWS, stop - first);
        Tally found;
        for (ptrdiff_t row = 0, part; row < rows; row += part) {
            ptrdiff_t position = (first + row) % maps.positions;
            const float *from = maps.at((first + row) / maps.positions, 0, position);
            part = std::min(maps.positions - position, rows - row);
            tally(maps, from, part, found);
            (maps.channel_stride == 1 ? pack_rows<T> : pack_runs<T>)(maps, from, part, shift, panels, row);
        }
        counts += found.finite() ? found.counts() : cleared(maps, first, rows, panels);
        bool scaled = panel_sums<V>(maps, first, rows, count, shift, panels, units, own, slice ? nullptr : sums);
        products<V>(rows, count, panels, out, leading, slice, slices, scaled ? units : nullptr);
    }
    return slice == 0 ? counts : Counts{};
}

[[gnu::always_inline]] inline Ints bins_of(Ints bits) {
    Ints magnitude = bits & INT32_MAX;
    Ints bin = ((magnitude < INFINITE ? magnitude : INFINITE) >> DROPPED) - (magnitude != 0);  // true is -1
    return bin | ((bits >> 31) & SIDE);
}

// Counts values, of which a table takes 2^32: a tensor of 64 GB.
void count_bins(const float *from, ptrdiff_t number, uint32_t *tables) {
    int32_t bin[FLOATS];
    ptrdiff_t k = 0;
    for (; k + FLOATS <= number; k += FLOATS) {
        __builtin_prefetch(from + k + AHEAD, 0, 2);
        arithmetic::store(bin, bins_of(load<Ints>(from + k)));
#pragma GCC unroll 16
        for (int lane = 0; lane < FLOATS; lane++) tables[lane % TABLES * BINS + bin[lane]]++;
    }
    arithmetic::store(bin, bins_of(load<Ints>(from + k, number - k)));
    for (int lane = 0; lane < number - k; lane++) tables[bin[lane]]++;
}

// Integers in the order of floats, -0 before 0 and nan at the ends; its own inverse.
template <typename I>
[[gnu::always_inline]] inline I ordered(I bits) {
    return bits ^ ((bits >> 31) & INT32_MAX);
}

// The largest of the finite values of a channel, -0 as 0; minus infinity where there is none.
float finite_peak(const Maps &maps, ptrdiff_t image, ptrdiff_t channel) {
    int32_t most = ordered(INFINITE | INT32_MIN);
    for (ptrdiff_t position = 0; position < maps.positions; position++) {
        int32_t bits;
        std::memcpy(&bits, maps.at(image, channel, position), sizeof bits);
        if ((bits & INT32_MAX) < INFINITE) most = std::max(most, ordered(bits));
    }
    most = most == -1 ? 0 : ordered(most);
    float peak;
    std::memcpy(&peak, &most, sizeof peak);
    return peak;
}

[[gnu::always_inline]] inline int32_t ordered_at(const float *from) {
    int32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    return ordered(bits);
}
[[gnu::always_inline]] inline void raise(Ints &most, const float *from) {
    Ints values = ordered(load<Ints>(from));
    most = values > most ? values : most;
}

// most[channel] becomes the largest of the values of a channel, in the order of `ordered`.
void raise_by_runs(const Maps &maps, ptrdiff_t image, int32_t *most) {
    for (ptrdiff_t channel = 0; channel < maps.channels; channel++) {
        const float *from = maps.at(image, channel, 0);
        if (maps.positions < FLOATS) {
            for (ptrdiff_t k = 0; k < maps.positions; k++) most[channel] = std::max(most[channel], ordered_at(from + k));
            continue;
        }
        Ints lanes = Ints{} + INT32_MIN, others = lanes;
        ptrdiff_t k = 0;
        for (; k + 2 * FLOATS <= maps.positions; k += 2 * FLOATS) {
            __builtin_prefetch(from + k + AHEAD, 0, 2);
            __builtin_prefetch(from + k + FLOATS + AHEAD, 0, 2);
            raise(lanes, from + k);
            raise(others, from + k + FLOATS);
        }
        // What a vector has twice changes nothing.
        if (k + FLOATS <= maps.positions) raise(lanes, from + k);
        raise(others, from + maps.positions - FLOATS);
        int32_t each[FLOATS];
        arithmetic::store(each, lanes > others ? lanes : others);
        most[channel] = *std::max_element(each, each + FLOATS);
    }
}
void raise_by_rows(const Maps &maps, ptrdiff_t image, int32_t *most) {
    for (ptrdiff_t first = 0; first < maps.positions; first += TURNS) {
        ptrdiff_t turns = std::min(TURNS, maps.positions - first), channel = 0;
        const float *from = maps.at(image, 0, first);
        for (; channel + FLOATS <= maps.channels; channel += FLOATS) {
            Ints lanes = load<Ints>(most + channel);
            for (ptrdiff_t turn = 0; turn < turns; turn++) {
                const float *at = from + turn * maps.position_stride + channel;
                __builtin_prefetch(at + AHEAD, 0, 2);
                raise(lanes, at);
            }
            arithmetic::store(most + channel, lanes);
        }
        for (; channel < maps.channels; channel++)
            for (ptrdiff_t turn = 0; turn < turns; turn++)
                most[channel] = std::max(most[channel], ordered_at(from + turn * maps.position_stride + channel));
    }
}

void image_peaks(const Maps &maps, ptrdiff_t image, float *peaks) {
    int32_t *most = reinterpret_cast<int32_t *>(peaks);
    std::fill_n(most, maps.channels, INT32_MIN);
    (maps.channel_stride == 1 ? raise_by_rows : raise_by_runs)(maps, image, most);
    for (ptrdiff_t channel = 0; channel < maps.channels; channel++) {
        int32_t bits = ordered(most[channel]);
        bool finite = (bits & INT32_MAX) < INFINITE;
        bits = most[channel] == -1 ? 0 : bits;
        if (finite)
            std::memcpy(peaks + channel, &bits, sizeof bits);
        else
            peaks[channel] = finite_peak(maps, image, channel);
    }
}

// Working memory, a part for each thread; null where there is none.
struct Memory {
    ptrdiff_t part;
    arithmetic::Memory<char> all;

    Memory(ptrdiff_t parts, ptrdiff_t bytes) : part((bytes + 63) / 64 * 64), all(parts * part) {}

    template <typename T>
    T *of_thread() const {
#if defined(_OPENMP)
        return reinterpret_cast<T *>(all.data + omp_get_thread_num() * part);
#else
        return reinterpret_cast<T *>(all.data);
#endif
    }
};

#pragma omp declare reduction(+ : Counts : omp_out += omp_in)

}  // namespace

EXPORTED const char *source() { return SOURCE; }

// counts: non-positive, zeros, not finite.
EXPORTED int count(ptrdiff_t threads, ptrdiff_t number, const float *values, int64_t *counts) {
    if (number < 0) return arithmetic::NONSENSE;
    Counts sum;
    ptrdiff_t runs = (number + RUN - 1) / RUN;
#pragma omp parallel for num_threads(int(threads)) if (runs > 1) reduction(+ : sum)
    for (ptrdiff_t run = 0; run < runs; run++) {
        const float *from = values + run * RUN;
        ptrdiff_t length = std::min(RUN, number - run * RUN);
        Tally found;
        found.add(from, length, values + number);
        if (found.finite())
            sum += found.counts();
        else
            for (ptrdiff_t k = 0; k < length; k++) sum += from[k];
    }
    counts[0] = sum.non_positive, counts[1] = sum.zeros, counts[2] = sum.non_finite;
    return arithmetic::DONE;
}

// Adds to counts[bin] the number of values in each bin. Without memory nothing was added.
EXPORTED int histogram(ptrdiff_t threads, ptrdiff_t number, const float *values, int64_t *counts) {
    if (number < 0) return arithmetic::NONSENSE;
    constexpr ptrdiff_t SIZE = TABLES * BINS;
    ptrdiff_t runs = (number + RUN - 1) / RUN;
    threads = std::min<ptrdiff_t>(threads, std::max<ptrdiff_t>(runs, 1));
    Memory memory(threads, SIZE * sizeof(uint32_t));
    if (!memory.all.data) return arithmetic::NO_MEMORY;
#pragma omp parallel num_threads(int(threads)) if (threads > 1)
    {
        uint32_t *tables = memory.of_thread<uint32_t>();
        std::fill_n(tables, SIZE, 0);
#pragma omp for
        for (ptrdiff_t run = 0; run < runs; run++)
            count_bins(values + run * RUN, std::min(RUN, number - run * RUN), tables);
#pragma omp critical
        for (ptrdiff_t k = 0; k < SIZE; k++) counts[k % BINS] += tables[k];
    }
    return arithmetic::DONE;
}

// peaks[image][channel]: the largest finite value over the positions.
EXPORTED int peaks(ptrdiff_t threads, const Maps *maps, float *peaks) {
#pragma omp parallel for num_threads(int(threads)) if (maps->images > 1)
    for (ptrdiff_t image = 0; image < maps->images; image++) image_peaks(*maps, image, peaks + image * maps->channels);
    return arithmetic::DONE;
}

// means[image][channel] of the values less the channel's shift, in double; counts as above.
EXPORTED int spatial_means(ptrdiff_t threads, const Maps *maps, const float *shift, double *means, int64_t *counts) {
    Counts sum;
    ptrdiff_t width = (maps->channels + FLOATS - 1) / FLOATS * FLOATS;
    Memory memory(threads, LANES * width * sizeof(double));
    if (!memory.all.data) return arithmetic::NO_MEMORY;
#pragma omp parallel for num_threads(int(threads)) if (maps->images > 1) reduction(+ : sum)
    for (ptrdiff_t image = 0; image < maps->images; image++)
        sum += image_means(*maps, image, shift, means + image * maps->channels, memory.of_thread<double>(), width);
    counts[0] = sum.non_positive, counts[1] = sum.zeros, counts[2] = sum.non_finite;
    return arithmetic::DONE;
}

// Adds to sums[channel] and to the upper triangle of products[channel][channel] over all positions of all images;
// `leading` is the length of their rows, a multiple of 16, and `shift` has as many values. exact: in double, else the
// products of up to 256 positions in float, of channels that are too large or small for it times a power of two. counts: as above, and positions left out for a value that is not finite.
// What is below the triangle is nobody's. Without memory nothing was added.
EXPORTED int position_sums(ptrdiff_t threads, const Maps *maps, ptrdiff_t leading, ptrdiff_t exact, const float *shift,
                           double *sums, double *products, int64_t *counts) {
    if (leading < maps->channels || leading % 16) return arithmetic::NONSENSE;
    Counts sum;
    ptrdiff_t rows = maps->images * maps->positions, panels = (rows + ROWS - 1) / ROWS;
    ptrdiff_t size = leading * (leading + 1), bytes = size * sizeof(double);
    ptrdiff_t segments = 1, slices = std::max<ptrdiff_t>(1, leading / SLICE);
    while (segments < SEGMENTS && 2 * segments * POSITIONS <= rows && (2 * segments - 1) * bytes <= BUFFERED)
        segments *= 2;
    // The first segment adds to what is there, each other one to a part of its own; the parts are added in order.
    Memory buffers(segments - 1, bytes);
    Memory memory(threads, leading * ((PANEL + 1) * (exact ? sizeof(double) : sizeof(float)) + sizeof(double)));
    if (!memory.all.data || (segments > 1 && !buffers.all.data)) return arithmetic::NO_MEMORY;
    double *parts = reinterpret_cast<double *>(buffers.all.data);
#pragma omp parallel num_threads(int(threads)) if (segments * slices > 1) reduction(+ : sum)
    {
#pragma omp for
        for (ptrdiff_t s = 1; s < segments; s++) std::fill_n(parts + (s - 1) * size, size, 0.0);
#pragma omp for collapse(2)
        for (ptrdiff_t s = 0; s < segments; s++)
            for (ptrdiff_t slice = 0; slice < slices; slice++) {
                double *own = s ? parts + (s - 1) * size : nullptr;
                sum += (exact ? segment<Doubles, double> : segment<Floats, float>)(
                    *maps, shift, s * panels / segments * ROWS, std::min(rows, (s + 1) * panels / segments * ROWS),
                    memory.of_thread<void>(), own ? own + leading * leading : sums, own ? own : products, leading,
                    slice, slices);
            }
#pragma omp for
        for (ptrdiff_t row = 0; row <= leading; row++) {
            double *to = row < leading ? products + row * leading : sums;
            for (ptrdiff_t s = 1; s < segments; s++) {
                const double *own = parts + (s - 1) * size + row * leading;
                for (ptrdiff_t k = row % leading; k < leading; k++) to[k] += own[k];
            }
        }
    }
    counts[0] = sum.non_positive, counts[1] = sum.zeros, counts[2] = sum.non_finite, counts[3] = sum.left_out;
    return arithmetic::DONE;
}
