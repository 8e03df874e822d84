// Convolution of float32 maps in channels_last memory, and its gradient by the maps.

#include "depthwise.hpp"
#include "direct.hpp"
#include "winograd.hpp"

#include <exception>

using namespace arithmetic;

namespace {

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
// batch norm follows; form: what is fused to it, other than a sum; kept: null, or `room` values in which packed weights
// stay for the next call, the first of them zero before the first. No exception leaves: it would end the process where
// Python's call begins.
EXPORTED int convolution(ptrdiff_t threads, const Shape *shape, ptrdiff_t room, const float *maps, const float *weights,
                         const float *bias, const float *norm, ptrdiff_t form, float *kept, float *result) try {
    const Shape &s = *shape;
    if (!s.valid() || form < PLAIN || form > RELU6) return NONSENSE;
    FloatingPoint state;  // for what this thread does alone
    ptrdiff_t rows = s.rows(), columns = s.columns();
    Pass pass{maps, s.images, s.height, s.width, s.channels, rows, columns, s.stride_y, s.stride_x, -s.padding_top,
              -s.padding_left, s.kernel_height, s.kernel_width, s.groups, s.group_channels(), s.group_outputs(), result,
              rows * columns * s.outputs, columns * s.outputs, s.outputs, bias, norm, form};
    const ptrdiff_t chain = pass.chain(), size = pass.groups * (s.depthwise() ? 1 : pass.blocks() * BLOCK) * chain;
    if (kept && room < HEAD + size) return NONSENSE;
    float *packed = kept ? kept + HEAD : scratch<float, 1>(size);
    if (!packed) return NO_MEMORY;
    auto packing = [&](auto &&f) { kept ? keep(kept, hash_of(weights, s.outputs * chain, s.groups), f) : f(); };
    if (s.depthwise()) {
        packing([&] { transpose(weights, chain, s.groups, chain, packed, s.groups); });
        run_depthwise(threads, {{pass, packed}});
        return DONE;
    }
    return run(threads, method_of(s, OUTPUT), pass, {weights, chain, 1, s.channels, false}, [&](const Pass &some) {
        packing([&] { pack_weights(threads, some, weights, packed); });
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
