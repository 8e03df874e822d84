// The passes of batch norm over maps, forwards and backwards, and what is computed once a channel between them.
//
// Sums and what is computed once a channel are double, what is computed once a value float. docs/arithmetic.md has the
// formulas.

#pragma once

#include "normalisation.hpp"

namespace arithmetic {

struct Norm {
    ptrdiff_t channels;
    const float *weight, *bias;  // null: 1 and 0

    double weight_of(ptrdiff_t channel) const { return weight ? weight[channel] : 1; }
    double bias_of(ptrdiff_t channel) const { return bias ? bias[channel] : 0; }
};

// centre = mean, scale = weight / deviation, shift = bias + (centre - mean) scale, each rounded to float once.
inline Coefficients coefficients(const Norm &norm, const double *mean, const double *inverse, float *to) {
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
inline void given_statistics(ptrdiff_t channels, double epsilon, const float *mean, const float *variance, double *statistics) {
    for (ptrdiff_t channel = 0; channel < channels; channel++) {
        statistics[channel] = mean[channel];
        statistics[channels + channel] = 1 / std::sqrt(double(variance[channel]) + epsilon);
    }
}

inline void apply(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t channels, const Coefficients &c, ptrdiff_t form,
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
inline void finish(const Norm &norm, double number, const double *sums, double momentum, double epsilon, float *running_mean,
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
inline void sum_values(ptrdiff_t threads, const Batch &batch, const Segments &segments, ptrdiff_t channels,
                       const float *maps, double *sums) {
    sum_segments(threads, batch, segments, channels, sums,
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
inline void sum_gradients(ptrdiff_t threads, const Batch &batch, const Segments &segments, ptrdiff_t channels,
                          const Coefficients &c, ptrdiff_t form, const Backward &of, double *sums) {
    with_form(form, [&](auto kind) {
        constexpr Form FORM = decltype(kind)::value;
        sum_segments(threads, batch, segments, channels, sums,
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
inline void finish_gradient(const Norm &norm, double number, bool given, const double *mean, const double *inverse,
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

inline void apply_gradient(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t channels, const Coefficients &c, ptrdiff_t form,
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
inline const double *sum_of(double *leaves, const Batch &batch, ptrdiff_t channels) {
    add_tree(leaves, batch.leaves(), 2 * channels);
    return leaves;
}

}  // namespace arithmetic
