// Batch norm of float32 maps in channels_last memory, alone or fused with what follows it; Ioffe and Szegedy 2015.

#include "batch_norm.hpp"

using namespace arithmetic;

namespace {

bool refused(ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form) {
    return images < 1 || positions < 1 || channels < 1 || form < PLAIN || form > SUM_RELU;
}

}  // namespace

// A row of 2 x `channels` doubles for each leaf: sums of values, sums of squares.
EXPORTED int normalisation_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
                                  const float *maps, double *leaves) {
    if (refused(images, positions, channels, PLAIN)) return NONSENSE;
    return sum_leaves({images, positions}, 2 * channels, leaves, [&](const Batch &batch, double *sums) {
        sum_values(threads, batch, {0, batch.segments()}, channels, maps, sums);
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
        sum_gradients(threads, batch, {0, batch.segments()}, channels, c, form, {gradient, maps, output, other_gradient}, sums);
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
