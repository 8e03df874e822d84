// A convolution to compute, or the gradient of one by its maps.

#pragma once

#include "convolution.hpp"
#include "normalisation.hpp"

namespace arithmetic {

// A convolution whose results lie on a grid: position (row, column) looks at the map from (top + row stride_y, left +
// column stride_x) on, which may lie outside.
struct Pass {
    const float *maps;
    ptrdiff_t images, height, width, channels;
    ptrdiff_t rows, columns, stride_y, stride_x, top, left;
    ptrdiff_t kernel_height, kernel_width, groups, group_channels, group_outputs;
    float *result;
    ptrdiff_t image_step, row_step, column_step;  // of the grid in the result, in values
    const float *bias;
    const float *norm = nullptr;  // coefficients of the batch norm that follows [3][output]
    ptrdiff_t form = PLAIN;

    ptrdiff_t chain() const { return kernel_height * kernel_width * group_channels; }
    ptrdiff_t outputs() const { return groups * group_outputs; }
    ptrdiff_t blocks() const { return (group_outputs + BLOCK - 1) / BLOCK; }
    const float *from(ptrdiff_t image, ptrdiff_t y, ptrdiff_t x) const {
        return maps + ((image * height + y) * width + x) * channels;
    }
    float *to(ptrdiff_t image, ptrdiff_t row, ptrdiff_t column) const {
        return result + image * image_step + row * row_step + column * column_step;
    }
};

// Batch norm of the `number` outputs from `output` on at some positions, while they are in the cache; to(p) is where those of
// position p are.
template <typename F>
inline void follow(const Pass &pass, ptrdiff_t positions, F &&to, ptrdiff_t output, ptrdiff_t number) {
    const float *centres = pass.norm, *scales = centres + pass.outputs(), *shifts = scales + pass.outputs();
    with_form(pass.form, [&](auto kind) {
        for (ptrdiff_t at = output, end = output + number; at < end; at += FLOATS) {
            ptrdiff_t lanes = std::min<ptrdiff_t>(FLOATS, end - at);
            Floats centre = load_lanes(centres + at, lanes), scale = load_lanes(scales + at, lanes);
            Floats shift = load_lanes(shifts + at, lanes);
            for (ptrdiff_t p = 0; p < positions; p++) {
                Floats value = normalised(load_lanes(to(p) + at, lanes), centre, scale, shift);
                store_lanes(to(p) + at, activation<decltype(kind)::value>(value), lanes);
            }
        }
    });
}

}  // namespace arithmetic
