// What the passes of batch norm share: the forms it is fused to, its coefficients, and walks over channels.

#pragma once

#include "leaves.hpp"
#include "threads.hpp"
#include "vectors.hpp"

namespace arithmetic {

// What follows batch norm in the same pass. SUM_RELU adds a second map first.
enum Form : int { PLAIN = 0, RELU = 1, RELU6 = 2, SUM_RELU = 3 };

// Of one channel each: y = (x - centre) scale + shift.
struct Coefficients {
    const float *centre, *scale, *shift;
};

// y = x > 0 or nan: x, otherwise 0, and no larger than 6 for RELU6. A zero keeps its sign, as torch's does on x86.
template <Form FORM>
[[gnu::always_inline]] inline Floats activation(Floats value) {
    Floats zero{}, six = broadcast(6.0f);
    if (FORM != PLAIN) value = value < zero ? zero : value;
    if (FORM == RELU6) value = value > six ? six : value;
    return value;
}

// The gradient where the activation let its input through, zero elsewhere.
template <Form FORM>
[[gnu::always_inline]] inline Floats passed(Floats gradient, Floats output) {
    Ints stopped{};
    if (FORM != PLAIN) stopped = output <= Floats{};
    if (FORM == RELU6) stopped |= output >= broadcast(6.0f);
    return FORM == PLAIN ? gradient : Floats(Ints(gradient) & ~stopped);
}

// Adding a positive zero makes no output a negative one, whose maximum with zero differs between processors.
[[gnu::always_inline]] inline Floats normalised(Floats value, Floats centre, Floats scale, Floats shift) {
    return fma(value - centre, scale, shift) + Floats{};
}

// Calls f(first channel, lanes) for vectors that cover all channels. The last may overlap the one before: what is
// computed twice is equal. Only maps with fewer channels than a vector have fewer lanes.
template <typename F>
[[gnu::always_inline]] inline void each_vector(ptrdiff_t channels, F &&f) {
    ptrdiff_t channel = 0;
    for (; channel + FLOATS <= channels; channel += FLOATS) f(channel, ptrdiff_t(FLOATS));
    if (channel < channels) channels < FLOATS ? f(0, channels) : f(channels - FLOATS, ptrdiff_t(FLOATS));
}

[[gnu::always_inline]] inline Floats load_lanes(const float *from, ptrdiff_t lanes) {
    return lanes == FLOATS ? load<Floats>(from) : load<Floats>(from, lanes);
}
[[gnu::always_inline]] inline void store_lanes(float *to, Floats values, ptrdiff_t lanes) {
    lanes == FLOATS ? store(to, values) : store(to, values, lanes);
}

// Calls f(row) for all rows, shared among threads in pieces of some 64 KB.
template <typename F>
inline void each_row(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t channels, F &&f) {
    ptrdiff_t piece = std::max<ptrdiff_t>(1, (1 << 14) / channels);
    parallel(int(threads), (rows + piece - 1) / piece, [&](ptrdiff_t item, int) {
        for (ptrdiff_t row = item * piece; row < std::min(rows, (item + 1) * piece); row++) f(row);
    });
}

template <typename F>
inline void with_form(ptrdiff_t form, F &&f) {
    if (form == PLAIN) f(std::integral_constant<Form, PLAIN>{});
    if (form == RELU) f(std::integral_constant<Form, RELU>{});
    if (form == RELU6) f(std::integral_constant<Form, RELU6>{});
    if (form == SUM_RELU) f(std::integral_constant<Form, SUM_RELU>{});
}

// A vector of floats as two of doubles.
struct Wide {
    Doubles lower, upper;

    [[gnu::always_inline]] explicit Wide(Floats values) {
        typedef double Pair __attribute__((vector_size(2 * BYTES)));
        Pair pair = __builtin_convertvector(values, Pair);
        std::memcpy(static_cast<void *>(this), &pair, sizeof pair);
    }
};

// Two of doubles as one of floats, rounded to nearest.
[[gnu::always_inline]] inline Floats narrowed(Doubles lower, Doubles upper) {
    typedef double Pair __attribute__((vector_size(2 * BYTES)));
    Pair pair;
    std::memcpy(&pair, &lower, sizeof lower);
    std::memcpy(reinterpret_cast<char *>(&pair) + sizeof lower, &upper, sizeof upper);
    return __builtin_convertvector(pair, Floats);
}

// Those from `first` on, before `end`.
struct Segments {
    ptrdiff_t first, end;
};

// Adds up two numbers of every position, in double: for each segment a row of 2 x `channels` sums, the first numbers'
// before the second's. f(row, first channel, lanes, first sum, second sum) with sums as two Doubles each.
template <typename F>
inline void sum_segments(ptrdiff_t threads, const Batch &batch, const Segments &segments, ptrdiff_t channels, double *sums,
                         F &&f) {
    constexpr ptrdiff_t GROUP = 512;  // channels that a thread takes at a time
    constexpr int WIDE = 2;           // vectors summed at a time: chains enough to hide how long a sum takes
    constexpr int FEW = 4;            // vectors whose sums are registers; other sums stay in the first cache
    ptrdiff_t groups = (channels + GROUP - 1) / GROUP;
    auto sum = [&](ptrdiff_t segment, ptrdiff_t channel, ptrdiff_t lanes, auto vectors) __attribute__((always_inline)) {
        constexpr int N = decltype(vectors)::value;
        Doubles first[N][2] = {}, second[N][2] = {};
        for (ptrdiff_t row = batch.segment_begin(segment); row < batch.segment_end(segment); row++)
            for (int n = 0; n < N; n++) f(row, channel + n * FLOATS, lanes, first[n], second[n]);
        double *to = sums + segment * 2 * channels + channel;
        for (int n = 0; n < N; n++, to += FLOATS) {
            std::memcpy(to, first[n], size_t(lanes) * sizeof(double));
            std::memcpy(to + channels, second[n], size_t(lanes) * sizeof(double));
        }
    };
    parallel(int(threads), (segments.end - segments.first) * groups, [&](ptrdiff_t item, int) {
        ptrdiff_t segment = segments.first + item / groups, begin = item % groups * GROUP, end = std::min(channels, begin + GROUP);
        ptrdiff_t channel = begin;
        if (end - begin > FEW * FLOATS) {
            // Rows as they lie in memory.
            Doubles first[GROUP / DOUBLES] = {}, second[GROUP / DOUBLES] = {};
            for (ptrdiff_t row = batch.segment_begin(segment); row < batch.segment_end(segment); row++) {
                Doubles *left = first, *right = second;
                for (channel = begin; channel + FLOATS <= end; channel += FLOATS, left += 2, right += 2)
                    f(row, channel, ptrdiff_t(FLOATS), left, right);
                if (channel < end) f(row, channel, end - channel, left, right);
            }
            double *to = sums + segment * 2 * channels + begin;
            std::memcpy(to, first, size_t(end - begin) * sizeof(double));
            std::memcpy(to + channels, second, size_t(end - begin) * sizeof(double));
            return;
        }
        for (; channel + WIDE * FLOATS <= end; channel += WIDE * FLOATS)
            sum(segment, channel, FLOATS, std::integral_constant<int, WIDE>{});
        for (; channel + FLOATS <= end; channel += FLOATS) sum(segment, channel, FLOATS, std::integral_constant<int, 1>{});
        if (channel < end) sum(segment, channel, end - channel, std::integral_constant<int, 1>{});
    });
}

// A row of `width` sums for each leaf. f(batch, sums) makes those of the segments.
template <typename F>
inline int sum_leaves(const Batch &batch, ptrdiff_t width, double *leaves, F &&f) {
    Memory<double> sums(batch.segments() * width);
    if (!sums) return NO_MEMORY;
    FloatingPoint state;
    f(batch, sums.data);
    chain_segments(batch, sums.data, width);
    std::copy_n(sums.data, batch.leaves() * width, leaves);
    return DONE;
}

}  // namespace arithmetic
