// Pooling of float32 maps in channels_last memory, and sums of two maps.
//
// Adaptive average pooling is here since torch's sums differ between instruction sets, maximum and sum for speed: torch's
// threads go on spinning when they are done and keep ours from a processor. Output i of n averages the positions from floor(i size / n) to ceil((i + 1) size / n), in rows and in columns.

#include "normalisation.hpp"

using namespace arithmetic;

namespace {

struct Window {
    ptrdiff_t begin, end;

    Window(ptrdiff_t output, ptrdiff_t outputs, ptrdiff_t size)
        : begin(output * size / outputs), end(((output + 1) * size + outputs - 1) / outputs) {}
    double size() const { return double(end - begin); }
    bool has(ptrdiff_t position) const { return begin <= position && position < end; }
};

struct Side {
    ptrdiff_t inputs, outputs;

    Window window(ptrdiff_t output) const { return {output, outputs, inputs}; }
};

// No initializer_list: gcc 12 -O1 leaves out the stores of its values.
template <typename... Sizes>
bool refused(Sizes... sizes) {
    return (... || (sizes < 1));
}

}  // namespace

// A chain in double over rows and columns, divided by their number.
EXPORTED int average_pool(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
                          ptrdiff_t rows, ptrdiff_t columns, const float *maps, float *result) {
    if (refused(images, channels, height, width, rows, columns)) return NONSENSE;
    parallel(int(threads), images * rows * columns, [&](ptrdiff_t item, int) {
        ptrdiff_t image = item / (rows * columns);
        Window high = Side{height, rows}.window(item / columns % rows), wide = Side{width, columns}.window(item % columns);
        each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) {
            Doubles lower{}, upper{};
            for (ptrdiff_t y = high.begin; y < high.end; y++)
                for (ptrdiff_t x = wide.begin; x < wide.end; x++) {
                    Wide value(load_lanes(maps + ((image * height + y) * width + x) * channels + channel, lanes));
                    lower += value.lower, upper += value.upper;
                }
            Doubles number = broadcast(high.size() * wide.size());
            store_lanes(result + item * channels + channel, narrowed(lower / number, upper / number), lanes);
        });
    });
    return DONE;
}

// Each input receives the gradients of the outputs that it is in, each divided by its number of positions: a chain in
// double over rows and columns of outputs.
EXPORTED int average_pool_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height,
                                   ptrdiff_t width, ptrdiff_t rows, ptrdiff_t columns, const float *gradient,
                                   float *result) {
    if (refused(images, channels, height, width, rows, columns)) return NONSENSE;
    parallel(int(threads), images * height, [&](ptrdiff_t item, int) {
        ptrdiff_t image = item / height, y = item % height;
        for (ptrdiff_t x = 0; x < width; x++) each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) {
            Doubles lower{}, upper{};
            for (ptrdiff_t row = 0; row < rows; row++) {
                Window high = Side{height, rows}.window(row);
                if (!high.has(y)) continue;
                for (ptrdiff_t column = 0; column < columns; column++) {
                    Window wide = Side{width, columns}.window(column);
                    if (!wide.has(x)) continue;
                    Wide value(load_lanes(gradient + ((image * rows + row) * columns + column) * channels + channel, lanes));
                    Doubles number = broadcast(high.size() * wide.size());
                    lower += value.lower / number, upper += value.upper / number;
                }
            }
            store_lanes(result + (item * width + x) * channels + channel, narrowed(lower, upper), lanes);
        });
    });
    return DONE;
}

// The largest of each window, the first of equal ones or the last nan, and its place in the image's map.
EXPORTED int max_pool(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
                      ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t kernel_y, ptrdiff_t kernel_x, ptrdiff_t stride_y,
                      ptrdiff_t stride_x, ptrdiff_t padding_y, ptrdiff_t padding_x, const float *maps, float *result,
                      int32_t *places) {
    if (refused(images, channels, height, width, rows, columns, kernel_y, kernel_x, stride_y, stride_x)) return NONSENSE;
    parallel(int(threads), images * rows, [&](ptrdiff_t item, int) {
        ptrdiff_t image = item / rows, top = item % rows * stride_y - padding_y;
        ptrdiff_t begin_y = std::max<ptrdiff_t>(top, 0), end_y = std::min(top + kernel_y, height);
        for (ptrdiff_t column = 0; column < columns; column++) {
            ptrdiff_t left = column * stride_x - padding_x;
            ptrdiff_t begin_x = std::max<ptrdiff_t>(left, 0), end_x = std::min(left + kernel_x, width);
            ptrdiff_t to = (item * columns + column) * channels;
            each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) {
                Floats most = broadcast(-HUGE_VALF);
                Ints place = Ints{} + int32_t(begin_y * width + begin_x);
                for (ptrdiff_t y = begin_y; y < end_y; y++)
                    for (ptrdiff_t x = begin_x; x < end_x; x++) {
                        Floats value = load_lanes(maps + ((image * height + y) * width + x) * channels + channel, lanes);
                        Ints better = (value > most) | (value != value);
                        most = better ? value : most;
                        place = better ? Ints{} + int32_t(y * width + x) : place;
                    }
                store_lanes(result + to + channel, most, lanes);
                if (places) store_lanes(reinterpret_cast<float *>(places) + to + channel, Floats(place), lanes);
            });
        }
    });
    return DONE;
}

// Each input receives the gradients of the windows whose largest it is, in the order of the windows.
EXPORTED int max_pool_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height,
                               ptrdiff_t width, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t kernel_y,
                               ptrdiff_t kernel_x, ptrdiff_t stride_y, ptrdiff_t stride_x, ptrdiff_t padding_y,
                               ptrdiff_t padding_x, const float *gradient, const int32_t *places, float *result) {
    if (refused(images, channels, height, width, rows, columns, kernel_y, kernel_x, stride_y, stride_x)) return NONSENSE;
    auto first = [](ptrdiff_t at, ptrdiff_t kernel, ptrdiff_t stride) {
        return at < kernel ? 0 : (at - kernel) / stride + 1;  // window that reaches position `at` of the padded map
    };
    parallel(int(threads), images * height, [&](ptrdiff_t item, int) {
        ptrdiff_t image = item / height, y = item % height;
        ptrdiff_t begin_row = first(y + padding_y, kernel_y, stride_y), end_row = std::min(rows, (y + padding_y) / stride_y + 1);
        for (ptrdiff_t x = 0; x < width; x++) {
            ptrdiff_t begin = first(x + padding_x, kernel_x, stride_x), end = std::min(columns, (x + padding_x) / stride_x + 1);
            Ints here = Ints{} + int32_t(y * width + x);
            each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) {
                Floats sum{};
                for (ptrdiff_t row = begin_row; row < end_row; row++)
                    for (ptrdiff_t column = begin; column < end; column++) {
                        ptrdiff_t at = ((image * rows + row) * columns + column) * channels + channel;
                        Ints place = Ints(load_lanes(reinterpret_cast<const float *>(places) + at, lanes));
                        Floats value = load_lanes(gradient + at, lanes);
                        sum += Floats(Ints(value) & (place == here));
                    }
                store_lanes(result + (item * width + x) * channels + channel, sum, lanes);
            });
        }
    });
    return DONE;
}

// result = first + second, of `values` values.
EXPORTED int add(ptrdiff_t threads, ptrdiff_t values, const float *first, const float *second, float *result) {
    constexpr ptrdiff_t PIECE = 1 << 14;
    parallel(int(threads), (values + PIECE - 1) / PIECE, [&](ptrdiff_t item, int) {
        ptrdiff_t at = item * PIECE, end = std::min(values, at + PIECE);
        for (; at + FLOATS <= end; at += FLOATS) store(result + at, load<Floats>(first + at) + load<Floats>(second + at));
        for (; at < end; at++) result[at] = first[at] + second[at];
    });
    return DONE;
}
