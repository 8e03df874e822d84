// Batch norm of float32 maps in channels_last memory, alone or fused with what follows it; Ioffe and Szegedy 2015.
//
// Sums and what is computed once a channel are double, what is computed once a value float. docs/arithmetic.md has the
// formulas.

#include "normalisation.hpp"

using namespace arithmetic;

namespace {

struct Norm {
    ptrdiff_t channels;
    const float *weight, *bias;  // null: 1 and 0

    double weight_of(ptrdiff_t channel) const { return weight ? weight[channel] : 1; }
    double bias_of(ptrdiff_t channel) const { return bias ? bias[channel] : 0; }
};

// centre = mean, scale = weight / deviation, shift = bias + (centre - mean) scale, each rounded to float once.
Coefficients coefficients(const Norm &norm, const double *mean, const double *inverse, float *to) {
    ptrdiff_t channels = norm.channels;
    float *centre = to, *scale = to + channels, *shift = to + 2 * channels;
    for (ptrdiff_t channel = 0; channel < channels; channel++) {
        double slope = norm.weight_of(channel) * inverse[channel];
        centre[channel] = float(mean[channel]);
        scale[channel] = float(slope);
        shift[channel] = float(arithmetic::fma(double(centre[channel]) - mean[channel], slope, norm.bias_of(channel)));
    }
    return {centre, scale, shift};
}

// The statistics of evaluation.
void given_statistics(ptrdiff_t channels, double epsilon, const float *mean, const float *variance, double *statistics) {
    for (ptrdiff_t channel = 0; channel < channels; channel++) {
        statistics[channel] = mean[channel];
        statistics[channels + channel] = 1 / std::sqrt(double(variance[channel]) + epsilon);
    }
}

void apply(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t channels, const Coefficients &c, ptrdiff_t form,
           const float *maps, const float *other, float *result) {
    with_form(form, [&](auto kind) {
        constexpr Form FORM = decltype(kind)::value;
        each_row(threads, rows, channels, [&](ptrdiff_t row) {
            each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) __attribute__((always_inline)) {
                ptrdiff_t at = row * channels + channel;
                Floats value = normalised(load_lanes(maps + at, lanes), load_lanes(c.centre + channel, lanes),
                                          load_lanes(c.scale + channel, lanes), load_lanes(c.shift + channel, lanes));
                if (FORM == SUM_RELU) value += load_lanes(other + at, lanes);
                store_lanes(result + at, activation<FORM>(value), lanes);
            });
        });
    });
}

// Mean and 1 / deviation of each channel from the sums of values and squares; running statistics move on.
void finish(const Norm &norm, double number, const double *sums, double momentum, double epsilon, float *running_mean,
            float *running_variance, double *mean, double *inverse) {
    for (ptrdiff_t channel = 0; channel < norm.channels; channel++) {
        double average = sums[channel] / number;
        double variance = arithmetic::fma(-average, average, sums[norm.channels + channel] / number);
        variance = variance < 0 ? 0 : variance;
        mean[channel] = average;
        inverse[channel] = 1 / std::sqrt(variance + epsilon);
        if (!running_mean) continue;
        double unbiased = variance * (number / (number - 1)), stays = 1 - momentum;
        running_mean[channel] = float(arithmetic::fma(momentum, average, stays * double(running_mean[channel])));
        running_variance[channel] = float(arithmetic::fma(momentum, unbiased, stays * double(running_variance[channel])));
    }
}

// Sums of values and squares for each segment.
void sum_values(ptrdiff_t threads, const Batch &batch, ptrdiff_t channels, const float *maps, double *sums) {
    sum_segments(threads, batch, channels, sums,
                 [=](ptrdiff_t row, ptrdiff_t channel, ptrdiff_t lanes, Doubles *sum, Doubles *square)
                     __attribute__((always_inline)) {
                         Wide value(load_lanes(maps + row * channels + channel, lanes));
                         sum[0] += value.lower, sum[1] += value.upper;
                         square[0] = fma(value.lower, value.lower, square[0]);
                         square[1] = fma(value.upper, value.upper, square[1]);
                     });
}

struct Backward {
    const float *gradient, *maps, *output;
    float *passed_gradient;  // of SUM_RELU: what the second map receives
};

// Sums of g and g (x - centre) for each segment, where g is the gradient that the activation passes.
void sum_gradients(ptrdiff_t threads, const Batch &batch, ptrdiff_t channels, const Coefficients &c,
                         ptrdiff_t form, const Backward &of, double *sums) {
    with_form(form, [&](auto kind) {
        constexpr Form FORM = decltype(kind)::value;
        sum_segments(threads, batch, channels, sums,
                     [=](ptrdiff_t row, ptrdiff_t channel, ptrdiff_t lanes, Doubles *sum, Doubles *product)
                         __attribute__((always_inline)) {
                             ptrdiff_t at = row * channels + channel;
                             Floats away = load_lanes(of.maps + at, lanes) - load_lanes(c.centre + channel, lanes);
                             Floats g = load_lanes(of.gradient + at, lanes);
                             if (FORM == SUM_RELU) {
                                 g = passed<FORM>(g, load_lanes(of.output + at, lanes));
                                 store_lanes(of.passed_gradient + at, g, lanes);
                             } else if (FORM != PLAIN) {
                                 g = passed<FORM>(g, fma(away, load_lanes(c.scale + channel, lanes),
                                                         load_lanes(c.shift + channel, lanes)));
                             }
                             Wide distance(away), wide(g);
                             sum[0] += wide.lower, sum[1] += wide.upper;
                             product[0] = fma(wide.lower, distance.lower, product[0]);
                             product[1] = fma(wide.upper, distance.upper, product[1]);
                         });
    });
}

// dx = slope g + tilt (x - centre) + offset. With statistics of the batch
//     slope = weight / deviation, tilt = -slope sum(g (x - mean)) / (n deviation^2), offset = -slope sum(g) / n,
// less tilt (mean - centre); with given statistics tilt and offset are zero. Also gradients of weight and bias.
void finish_gradient(const Norm &norm, double number, bool given, const double *mean, const double *inverse,
                     const double *sums, float *to, float *weight_gradient, float *bias_gradient) {
    ptrdiff_t channels = norm.channels;
    for (ptrdiff_t channel = 0; channel < channels; channel++) {
        double sum = sums[channel], residue = mean[channel] - double(float(mean[channel]));
        double product = arithmetic::fma(-residue, sum, sums[channels + channel]);
        double slope = norm.weight_of(channel) * inverse[channel];
        double tilt = -(slope * (inverse[channel] * inverse[channel])) * (product / number);
        double offset = -(slope * (sum / number)) - tilt * residue;
        to[channel] = float(slope);
        to[channels + channel] = given ? 0 : float(tilt);
        to[2 * channels + channel] = given ? 0 : float(offset);
        weight_gradient[channel] = float(product * inverse[channel]);
        bias_gradient[channel] = float(sum);
    }
}

void apply_gradient(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t channels, const Coefficients &c, ptrdiff_t form,
                    bool given, const Backward &of, const float *slopes, float *result) {
    const float *slope = slopes, *tilt = slopes + channels, *offset = slopes + 2 * channels;
    with_form(form, [&](auto kind) {
        constexpr Form FORM = decltype(kind)::value;
        each_row(threads, rows, channels, [&](ptrdiff_t row) {
            each_vector(channels, [&](ptrdiff_t channel, ptrdiff_t lanes) __attribute__((always_inline)) {
                ptrdiff_t at = row * channels + channel;
                Floats away = load_lanes(of.maps + at, lanes) - load_lanes(c.centre + channel, lanes);
                Floats g = load_lanes((FORM == SUM_RELU ? of.passed_gradient : of.gradient) + at, lanes);
                if (FORM == RELU || FORM == RELU6)
                    g = passed<FORM>(g, fma(away, load_lanes(c.scale + channel, lanes),
                                            load_lanes(c.shift + channel, lanes)));
                Floats of_g = fma(g, load_lanes(slope + channel, lanes), load_lanes(offset + channel, lanes));
                // With given statistics a position that is not finite says nothing of others' gradients.
                store_lanes(result + at, given ? of_g : fma(away, load_lanes(tilt + channel, lanes), of_g), lanes);
            });
        });
    });
}

// Of a whole batch, in its first row.
const double *sum_of(double *leaves, const Batch &batch, ptrdiff_t channels) {
    add_tree(leaves, batch.leaves(), 2 * channels);
    return leaves;
}

bool refused(ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form) {
    return images < 1 || positions < 1 || channels < 1 || form < PLAIN || form > SUM_RELU;
}

}  // namespace

// A row of 2 x `channels` doubles for each leaf: sums of values, sums of squares.
EXPORTED int normalisation_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
                                  const float *maps, double *leaves) {
    if (refused(images, positions, channels, PLAIN)) return NONSENSE;
    return sum_leaves({images, positions}, 2 * channels, leaves, [&](const Batch &batch, double *sums) {
        sum_values(threads, batch, channels, maps, sums);
    });
}

// sums: the row of the whole batch, which has `rows` positions in all images; more than the maps have where processes
// share a batch. Null where the maps are the whole batch. statistics: mean and 1 / deviation of each channel, for the
// backward pass.
EXPORTED int normalise(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
                       ptrdiff_t rows, double momentum, double epsilon, const double *sums, const float *maps,
                       const float *weight, const float *bias, float *running_mean, float *running_variance,
                       const float *other, float *result, double *statistics) {
    if (refused(images, positions, channels, form) || rows < 2 || (form == SUM_RELU && !other)) return NONSENSE;
    if (!running_mean != !running_variance || (!sums && rows != images * positions)) return NONSENSE;
    Norm norm{channels, weight, bias};
    Memory<float> memory(3 * channels);
    Memory<double> leaves(sums ? 0 : 2 * channels * Batch{images, positions}.leaves());
    if (!memory || !leaves) return NO_MEMORY;
    FloatingPoint state;
    if (!sums) {
        if (int status = normalisation_leaves(threads, images, positions, channels, maps, leaves)) return status;
        sums = sum_of(leaves, {images, positions}, channels);
    }
    finish(norm, double(rows), sums, momentum, epsilon, running_mean, running_variance, statistics,
           statistics + channels);
    apply(threads, images * positions, channels, coefficients(norm, statistics, statistics + channels, memory), form,
          maps, other, result);
    return DONE;
}

// The same with given mean and variance; each row of the result depends on its own row of the maps alone.
EXPORTED int normalise_by(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
                          double epsilon, const float *maps, const float *weight, const float *bias, const float *mean,
                          const float *variance, const float *other, float *result, double *statistics) {
    if (refused(images, positions, channels, form) || (form == SUM_RELU && !other)) return NONSENSE;
    Norm norm{channels, weight, bias};
    Memory<float> memory(3 * channels);
    if (!memory) return NO_MEMORY;
    FloatingPoint state;
    given_statistics(channels, epsilon, mean, variance, statistics);
    apply(threads, images * positions, channels, coefficients(norm, statistics, statistics + channels, memory), form,
          maps, other, result);
    return DONE;
}

// Of the same: centres, scales and shifts [3][channel], for a convolution that applies them to what it computes.
EXPORTED int normalisation_coefficients(ptrdiff_t, ptrdiff_t channels, double epsilon, const float *weight,
                                        const float *bias, const float *mean, const float *variance,
                                        float *coefficients_of) {
    if (refused(1, 1, channels, PLAIN)) return NONSENSE;
    Memory<double> statistics(2 * channels);
    if (!statistics) return NO_MEMORY;
    FloatingPoint state;
    given_statistics(channels, epsilon, mean, variance, statistics);
    coefficients({channels, weight, bias}, statistics, statistics + channels, coefficients_of);
    return DONE;
}

// A row of 2 x `channels` doubles for each leaf: sums of g and g (x - centre), see sum_gradients. other_gradient: of the
// second map (SUM_RELU), which is g.
EXPORTED int normalisation_gradient_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
                                           ptrdiff_t form, const float *gradient, const float *maps,
                                           const float *output, const float *weight, const float *bias,
                                           const double *statistics, float *other_gradient, double *leaves) {
    if (refused(images, positions, channels, form)) return NONSENSE;
    if (form == SUM_RELU && (!output || !other_gradient)) return NONSENSE;
    Norm norm{channels, weight, bias};
    Memory<float> memory(3 * channels);
    if (!memory) return NO_MEMORY;
    return sum_leaves({images, positions}, 2 * channels, leaves, [&](const Batch &batch, double *sums) {
        Coefficients c = coefficients(norm, statistics, statistics + channels, memory);
        sum_gradients(threads, batch, channels, c, form, {gradient, maps, output, other_gradient}, sums);
    });
}

// Gradients of the maps, weight and bias. sums: the row of the whole batch, which has `rows` positions, and other_gradient
// as normalisation_gradient_leaves left it; null where the maps are the whole batch. given: by normalise_by.
EXPORTED int normalise_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
                                ptrdiff_t form, ptrdiff_t rows, ptrdiff_t given, const double *sums,
                                const float *gradient, const float *maps, const float *output, const float *weight,
                                const float *bias, const double *statistics, float *other_gradient,
                                float *maps_gradient, float *weight_gradient, float *bias_gradient) {
    if (refused(images, positions, channels, form) || (form == SUM_RELU && !other_gradient)) return NONSENSE;
    if (!sums && rows != images * positions) return NONSENSE;
    Norm norm{channels, weight, bias};
    const double *mean = statistics, *inverse = statistics + channels;
    Memory<float> memory(3 * channels), slopes(3 * channels);
    Memory<double> leaves(sums ? 0 : 2 * channels * Batch{images, positions}.leaves());
    if (!memory || !slopes || !leaves) return NO_MEMORY;
    FloatingPoint state;
    if (!sums) {
        if (int status = normalisation_gradient_leaves(threads, images, positions, channels, form, gradient, maps, output,
                                                       weight, bias, statistics, other_gradient, leaves))
            return status;
        sums = sum_of(leaves, {images, positions}, channels);
    }
    Coefficients c = coefficients(norm, mean, inverse, memory);
    finish_gradient(norm, double(rows), given, mean, inverse, sums, slopes, weight_gradient, bias_gradient);
    apply_gradient(threads, images * positions, channels, c, form, given, {gradient, maps, nullptr, other_gradient},
                   slopes, maps_gradient);
    return DONE;
}
