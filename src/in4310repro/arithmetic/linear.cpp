// Linear layer and its gradient by the rows. The gradients by weight and bias are those of a convolution of 1 x 1 maps.
//
// A product of two float32 is exact in float64. An element is a chain of such products in float64, over the features
// from the bias or over the outputs from zero, and is rounded to float32 once.

#include "threads.hpp"
#include "transpose.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

// Sums of IMAGES x 2 vectors in registers.
constexpr int IMAGES = REGISTERS == 32 ? 8 : 5;
constexpr ptrdiff_t PANEL = 256;  // steps of a chain

// sums[image][FLOATS] goes on with values[image][step] x panel[step][FLOATS].
template <int N>
void tile(const double *values, ptrdiff_t values_step, const double *panel, ptrdiff_t steps, double *sums) {
    Doubles chains[N][2];
#pragma GCC unroll 8
    for (int i = 0; i < N; i++)
        for (int v = 0; v < 2; v++) chains[i][v] = load<Doubles>(sums + i * FLOATS + v * DOUBLES);
    for (ptrdiff_t step = 0; step < steps; step++, panel += FLOATS) {
        Doubles first = load<Doubles>(panel), second = load<Doubles>(panel + DOUBLES);
#pragma GCC unroll 8
        for (int i = 0; i < N; i++) {
            Doubles value = broadcast(values[i * values_step + step]);
            chains[i][0] = arithmetic::fma(value, first, chains[i][0]);
            chains[i][1] = arithmetic::fma(value, second, chains[i][1]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; i++)
        for (int v = 0; v < 2; v++) store(sums + i * FLOATS + v * DOUBLES, chains[i][v]);
}

// result[image][column] = first(column) + sum over steps of values[image][step] x other(step, column), where
// pack(step, steps, column, columns, to) writes to[step][FLOATS].
template <typename First, typename Pack>
int product(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t steps, ptrdiff_t columns, const float *values, First &&first,
            Pack &&pack, float *result) {
    ptrdiff_t blocks = (columns + FLOATS - 1) / FLOATS, most = std::max<ptrdiff_t>(1, std::min(threads, blocks));
    Memory<double> wide(images * steps), panels(most * PANEL * FLOATS), all_sums(most * images * FLOATS);
    if (!wide || !panels || !all_sums) return NO_MEMORY;
    parallel(int(threads), images, [&](ptrdiff_t image, int) {
        std::copy_n(values + image * steps, steps, wide + image * steps);
    });
    parallel(int(most), blocks, [&](ptrdiff_t block, int thread) {
        ptrdiff_t column = block * FLOATS, number = std::min<ptrdiff_t>(FLOATS, columns - column);
        double *panel = panels + thread * PANEL * FLOATS, *sums = all_sums + thread * images * FLOATS;
        for (ptrdiff_t image = 0; image < images; image++)
            for (ptrdiff_t j = 0; j < FLOATS; j++) sums[image * FLOATS + j] = j < number ? first(column + j) : 0;
        for (ptrdiff_t step = 0; step < steps; step += PANEL) {
            ptrdiff_t length = std::min(PANEL, steps - step), image = 0;
            pack(step, length, column, number, panel);
            for (; image + IMAGES <= images; image += IMAGES)
                tile<IMAGES>(wide + image * steps + step, steps, panel, length, sums + image * FLOATS);
            for (; image < images; image++)
                tile<1>(wide + image * steps + step, steps, panel, length, sums + image * FLOATS);
        }
        for (ptrdiff_t image = 0; image < images; image++)
            for (ptrdiff_t j = 0; j < number; j++) result[image * columns + column + j] = float(sums[image * FLOATS + j]);
    });
    return DONE;
}

}  // namespace

// rows[image][feature], weight[output][feature], bias[output] or null -> result[image][output].
EXPORTED int linear(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t features, ptrdiff_t outputs, const float *rows,
                    const float *weight, const float *bias, float *result) {
    if (images < 1 || features < 1 || outputs < 1) return NONSENSE;
    auto first = [=](ptrdiff_t output) { return bias ? double(bias[output]) : 0.0; };
    auto pack = [=](ptrdiff_t feature, ptrdiff_t number, ptrdiff_t output, ptrdiff_t width, double *to) {
        alignas(64) float square[PANEL * FLOATS];
        if (width < FLOATS) std::fill_n(square, PANEL * FLOATS, 0.0f);
        transpose(weight + output * features + feature, features, width, number, square, FLOATS);
        std::copy_n(square, number * FLOATS, to);
    };
    return product(threads, images, features, outputs, rows, first, pack, result);
}

// gradient[image][output], weight[output][feature] -> result[image][feature].
EXPORTED int linear_rows_gradient(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t features, ptrdiff_t outputs,
                                  const float *gradient, const float *weight, float *result) {
    if (images < 1 || features < 1 || outputs < 1) return NONSENSE;
    auto pack = [=](ptrdiff_t output, ptrdiff_t number, ptrdiff_t feature, ptrdiff_t width, double *to) {
        for (ptrdiff_t step = 0; step < number; step++, to += FLOATS) {
            std::copy_n(weight + (output + step) * features + feature, width, to);
            std::fill_n(to + width, FLOATS - width, 0.0);
        }
    };
    return product(threads, images, outputs, features, gradient, [](ptrdiff_t) { return 0.0; }, pack, result);
}
