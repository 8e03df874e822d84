// An inverted residual in evaluation (Sandler et al., "MobileNetV2", CVPR 2018): expansion, depth-wise convolution and
// projection, each with its batch norm, strip by strip of rows, so that the wide maps between them stay in the cache.
//
// Every value is computed by the same operations in the same order as by the kernels of the single layers.

#include "depthwise.hpp"
#include "direct.hpp"

#include <exception>

using namespace arithmetic;

extern "C" int normalisation_coefficients(ptrdiff_t, ptrdiff_t channels, double epsilon, const float *weight, const float *bias,
                                        const float *mean, const float *variance, float *coefficients_of);

namespace {

constexpr ptrdiff_t CACHE = 1 << 17;  // values between the convolutions that a thread holds: 512 kB

// A 1 x 1 convolution whose weights are packed once.
struct Pointwise {
    Pass pass;
    Region region{pass, Span{0, 1, 0, 1}, Span{0, 1, 0, 1}};
    const float *packed = nullptr;
    double *few = nullptr;

    Pointwise(ptrdiff_t channels, ptrdiff_t outputs, const float *norm, ptrdiff_t form)
        : pass{nullptr, 1, 1, 1, channels, 1, 1, 1, 1, 0, 0, 1, 1, 1, channels, outputs, nullptr, 0, 0, 0, nullptr, norm, form} {}
    ptrdiff_t size() const { return pass.blocks() * BLOCK * pass.channels; }
    void take(const float *weights, double *wide) {
        packed = weights;
        if (pass.channels > FEW) return;
        few = wide;
        std::copy_n(packed, size(), few);
    }
    // `number` positions side by side; `other`, where given, is added to the results.
    void run(const float *from, float *to, ptrdiff_t number, const float *other) const {
        const ptrdiff_t channels = pass.channels, outputs = pass.group_outputs;
        for (ptrdiff_t start = 0, now; start < number; start += now) {
            Position positions[POSITIONS];
            now = std::min(POSITIONS, number - start);
            for (ptrdiff_t p = 0; p < now; p++) positions[p] = {from + (start + p) * channels, to + (start + p) * outputs};
            for (ptrdiff_t block = 0; block < pass.blocks(); block++)
                compute_block(pass, region, positions, now, block, packed, few);
            for (ptrdiff_t at = start * outputs, end = (start + now) * outputs; other && at < end; at += FLOATS) {
                const ptrdiff_t lanes = std::min<ptrdiff_t>(FLOATS, end - at);
                store_lanes(to + at, load_lanes(other + at, lanes) + load_lanes(to + at, lanes), lanes);
            }
        }
    }
};

}  // namespace

// shape: of the depth-wise convolution, whose channels are the expanded ones; expand: null where there is no expansion.
// form: of the first two; sum: whether the input is added to the result; kept: as for a convolution.
EXPORTED int inverted_residual(ptrdiff_t threads, const Shape *shape, ptrdiff_t inputs, ptrdiff_t outputs, ptrdiff_t form,
                               ptrdiff_t sum, ptrdiff_t room, double epsilon, const float *maps, const float *expand,
                               const float *expand_weight, const float *expand_bias, const float *expand_mean,
                               const float *expand_variance, const float *depthwise, const float *depthwise_weight,
                               const float *depthwise_bias, const float *depthwise_mean, const float *depthwise_variance,
                               const float *project, const float *project_weight, const float *project_bias,
                               const float *project_mean, const float *project_variance, float *kept, float *result) try {
    const Shape &s = *shape;
    const ptrdiff_t wide = s.channels, rows = s.rows(), columns = s.columns(), taps = s.kernel_height * s.kernel_width;
    if (!s.valid() || !s.depthwise() || inputs < 1 || outputs < 1 || form < PLAIN || form > RELU6) return NONSENSE;
    if ((!expand && inputs != wide) || (sum && (inputs != outputs || rows != s.height || columns != s.width))) return NONSENSE;
    FloatingPoint state;
    float *norms = scratch<float, 5>(3 * (2 * wide + outputs)), *second = norms + 3 * wide, *third = second + 3 * wide;
    if (!norms) return NO_MEMORY;
    auto prepare = [=](ptrdiff_t channels, const float *weight, const float *bias, const float *mean, const float *variance,
                       float *to) {
        return mean ? normalisation_coefficients(1, channels, epsilon, weight, bias, mean, variance, to) : int(DONE);
    };
    int status = prepare(wide, expand_weight, expand_bias, expand ? expand_mean : nullptr, expand_variance, norms);
    if (!status) status = prepare(wide, depthwise_weight, depthwise_bias, depthwise_mean, depthwise_variance, second);
    if (!status) status = prepare(outputs, project_weight, project_bias, project_mean, project_variance, third);
    if (status) return status;
    Pointwise first(inputs, wide, norms, form), last(wide, outputs, third, PLAIN);
    const ptrdiff_t first_size = expand ? first.size() : 0;
    if (room < HEAD + first_size + last.size() + taps * wide) return NONSENSE;
    float *expanding = kept + HEAD, *projecting = expanding + first_size, *tapped = projecting + last.size();
    uint64_t hash = hash_of(project, wide * outputs, hash_of(depthwise, taps * wide, 0));
    if (expand) hash = hash_of(expand, inputs * wide, hash);
    keep(kept, hash, [&] {
        if (expand) pack_weights(threads, first.pass, expand, expanding);
        pack_weights(threads, last.pass, project, projecting);
        transpose(depthwise, taps, wide, taps, tapped, wide);
    });
    double *few = scratch<double, 4>(first_size + last.size());
    if (!few) return NO_MEMORY;
    if (expand) first.take(expanding, few);
    last.take(projecting, few + first_size);

    // Strips of so many rows that what lies between the convolutions stays in the cache; of small maps, several images.
    const ptrdiff_t line = s.width * wide, made = columns * wide;
    auto lines = [&](ptrdiff_t strip) { return (strip - 1) * s.stride_y + s.kernel_height; };
    ptrdiff_t strip = 1, group = 1, bands = 1;
    while (strip < rows && lines(strip + 1) * line + (strip + 1) * made <= CACHE) strip++;
    if (strip == rows) group = std::clamp<ptrdiff_t>(CACHE / (s.height * line + rows * made), 1, (s.images + threads - 1) / threads);
    if (s.images < threads) bands = std::min(rows, (2 * threads + s.images - 1) / s.images);
    const ptrdiff_t band = (rows + bands - 1) / bands, most = group > 1 ? s.height : std::min(lines(strip), s.height);
    const ptrdiff_t space = group * ((expand ? most * line : 0) + strip * made) + FLOATS;
    const ptrdiff_t groups = (s.images + group - 1) / group;
    float *spaces = scratch<float, 3>(threads * space);
    if (!spaces) return NO_MEMORY;
    parallel(int(threads), groups * bands, [&](ptrdiff_t item, int thread) {
        const ptrdiff_t image = item / bands * group, images = std::min(group, s.images - image);
        float *middle = spaces + thread * space, *expanded = middle + group * strip * made;
        const float *input = maps + image * s.height * s.width * inputs;
        ptrdiff_t begin = 0, end = 0;  // rows of the expanded maps that are there
        for (ptrdiff_t row = item % bands * band, stop = std::min(rows, row + band), next; row < stop; row = next) {
            next = std::min(stop, row + strip);
            const ptrdiff_t top = std::max<ptrdiff_t>(0, row * s.stride_y - s.padding_top);
            const ptrdiff_t last_row = (next - 1) * s.stride_y - s.padding_top + s.kernel_height;
            const ptrdiff_t bottom = images > 1 ? s.height : std::clamp<ptrdiff_t>(last_row, top, s.height);
            const float *from = input;
            if (expand) {
                if (end > top) std::memmove(expanded, expanded + (top - begin) * line, size_t((end - top) * line) * sizeof(float));
                const ptrdiff_t has = std::max(top, end);
                first.run(input + has * s.width * inputs, expanded + (has - top) * line,
                          (images * (bottom - has)) * s.width, nullptr);
                begin = top, end = bottom, from = expanded - top * line;
            }
            const DepthwisePass pass{{from, images, s.height, s.width, wide, rows, columns, s.stride_y, s.stride_x,
                                      -s.padding_top, -s.padding_left, s.kernel_height, s.kernel_width, wide, 1, 1,
                                      middle - row * made, rows * made, made, wide, nullptr, second, form}, tapped};
            for (ptrdiff_t i = 0; i < images; i++)
                for (ptrdiff_t at = row; at < next; at++) depthwise_row(pass, i, at);
            const ptrdiff_t at = (image * rows + row) * columns * outputs;
            last.run(middle, result + at, images * (next - row) * columns, sum ? maps + at : nullptr);
        }
    });
    return DONE;
} catch (const std::exception &) {
    return NO_MEMORY;
}
