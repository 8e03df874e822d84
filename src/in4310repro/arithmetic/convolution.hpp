// Geometry of a convolution in channels_last memory, and working memory that stays between calls.

#pragma once

#include "leaves.hpp"
#include "threads.hpp"
#include "vectors.hpp"

#include <vector>

namespace arithmetic {

// Vectors of output channels side by side. A register tile has rows of them, ROWS at most and SUMS vectors in all, and as
// many totals, which fit in beside them where there are 32 registers.
constexpr int VECTORS = REGISTERS == 32 ? 4 : 2, BLOCK = VECTORS * FLOATS, SUMS = 12, ROWS = 6;
// Rows of a tile whose rows are V vectors.
template <int V>
constexpr int TILE = std::min(ROWS, SUMS / V);

// Steps of a part of a sum: about the root of their number, a power of two, at most 32. Then chains of parts and chain over
// parts are equally long and the error is smallest; longer ones have a larger error than oneDNN's, which adds taps or rows.
inline ptrdiff_t part_of(ptrdiff_t steps) {
    ptrdiff_t part = 1;
    while (part < 32 && 2 * part * part <= steps) part *= 2;
    return part;
}

// As library.py passes it: integers only.
struct Shape {
    ptrdiff_t images, channels, height, width, outputs, kernel_height, kernel_width, stride_y, stride_x, padding_top,
        padding_bottom, padding_left, padding_right, groups;

    ptrdiff_t padded_height() const { return padding_top + height + padding_bottom; }
    ptrdiff_t padded_width() const { return padding_left + width + padding_right; }
    ptrdiff_t rows() const { return (padded_height() - kernel_height) / stride_y + 1; }
    ptrdiff_t columns() const { return (padded_width() - kernel_width) / stride_x + 1; }
    ptrdiff_t group_channels() const { return channels / groups; }
    ptrdiff_t group_outputs() const { return outputs / groups; }
    bool depthwise() const { return groups > 1 && group_channels() == 1 && group_outputs() == 1; }
    bool valid() const {
        return images > 0 && channels > 0 && height > 0 && width > 0 && outputs > 0 && kernel_height > 0 &&
               kernel_width > 0 && stride_y > 0 && stride_x > 0 && padding_top >= 0 && padding_bottom >= 0 &&
               padding_left >= 0 && padding_right >= 0 && groups > 0 && channels % groups == 0 && outputs % groups == 0 &&
               padded_height() >= kernel_height && padded_width() >= kernel_width;
    }
};

// Memory of the calling thread for a purpose, kept for the next call: fresh pages cost more than what is done in them.
template <typename T, int PURPOSE>
T *scratch(ptrdiff_t number) {
    static thread_local Memory<T> *memory = nullptr;
    static thread_local ptrdiff_t size = 0;
    if (number > size || !memory) {
        delete memory;
        memory = new (std::nothrow) Memory<T>(number);
        if (!memory) return nullptr;
        size = *memory ? number : 0;
    }
    return *memory;
}

// Rows (or columns) of results next to each other that have the same taps inside of the map.
struct Span {
    ptrdiff_t begin, number, tap, taps;
};

// Of result `at`, which looks at the map from top + at stride on.
inline Span span_of(ptrdiff_t at, ptrdiff_t top, ptrdiff_t stride, ptrdiff_t kernel, ptrdiff_t size) {
    ptrdiff_t start = top + at * stride, tap = std::max<ptrdiff_t>(0, -start);
    return {at, 1, tap, std::max<ptrdiff_t>(0, std::min(kernel, size - start) - tap)};
}

inline std::vector<Span> spans(ptrdiff_t number, ptrdiff_t top, ptrdiff_t stride, ptrdiff_t kernel, ptrdiff_t size) {
    std::vector<Span> found;
    for (ptrdiff_t at = 0; at < number; at++) {
        Span span = span_of(at, top, stride, kernel, size);
        if (found.empty() || found.back().tap != span.tap || found.back().taps != span.taps)
            found.push_back(span);
        else
            found.back().number++;
    }
    return found;
}

}  // namespace arithmetic
