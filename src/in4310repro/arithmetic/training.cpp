// Convolutions one after the other in training, each with batch norm of the batch and all but the last with ReLU6:
// one call in each direction for the kernels of the single layers, whose bits they have.

#include "convolution.hpp"
#include "normalisation.hpp"

using namespace arithmetic;

extern "C" {
int convolution(ptrdiff_t threads, const Shape *shape, ptrdiff_t room, const float *maps, const float *weights,
                const float *bias, const float *norm, ptrdiff_t form, float *kept, float *result);
int convolution_backward(ptrdiff_t threads, const Shape *shape, const float *gradient, const float *weights, float *result);
int weight_gradient(ptrdiff_t threads, const Shape *shape, ptrdiff_t whole, const float *maps, const float *gradient,
                    float *result);
int normalise(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form, ptrdiff_t rows,
              double momentum, double epsilon, const double *sums, const float *maps, const float *weight, const float *bias,
              float *running_mean, float *running_variance, const float *other, float *result, double *statistics);
int normalise_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
                       ptrdiff_t rows, ptrdiff_t given, const double *sums, const float *gradient, const float *maps,
                       const float *output, const float *weight, const float *bias, const double *statistics,
                       float *other_gradient, float *maps_gradient, float *weight_gradient, float *bias_gradient);
int add(ptrdiff_t threads, ptrdiff_t values, const float *first, const float *second, float *result);
}

namespace {

// Addresses of a layer's tensors, rows of the tables that residuals.py makes.
struct Trained {
    const float *weights, *weight, *bias;  // of the convolution, of the norm
    float *mean, *variance;
    int64_t *batches;
};
struct Parameters {
    const float *weights, *weight, *bias;
};
struct Gradients {
    float *weights, *weight, *bias;  // the first may be null
};
static_assert(sizeof(Trained) == 6 * sizeof(int64_t) && sizeof(Gradients) == 3 * sizeof(int64_t), "rows of a table");

ptrdiff_t positions(const Shape &shape) { return shape.rows() * shape.columns(); }
ptrdiff_t values(const Shape &shape) { return shape.images * positions(shape) * shape.outputs; }
// Values in what is kept, where each map begins on a line of the cache.
ptrdiff_t lines(const Shape &shape) { return (values(shape) + 15) / 16 * 16; }

// Whether each layer takes what the one before returns, and the sizes of memory are right.
bool fit(const Shape *shapes, ptrdiff_t layers, bool sum, ptrdiff_t inputs, ptrdiff_t room, ptrdiff_t channels,
         ptrdiff_t results) {
    ptrdiff_t needed = 0, outputs = 0;
    for (ptrdiff_t layer = 0; layer < layers; layer++) {
        const Shape &s = shapes[layer];
        if (!s.valid()) return false;
        if (s.images * s.channels * s.height * s.width != (layer ? values(shapes[layer - 1]) : inputs)) return false;
        needed += lines(s) * (layer < layers - 1 ? 2 : 1), outputs += s.outputs;
    }
    return layers > 0 && room == needed && channels == outputs && results == values(shapes[layers - 1]) &&
           (!sum || inputs == results);
}

}  // namespace

// shapes, addresses: a Shape and a Trained for each layer; inputs, results: values of the maps and of the result; sum: whether
// the maps are added to the result. kept, for the backward pass: of each layer what its convolution returns, then what its
// norm returns but for the last's; statistics: as of `normalise`, layer by layer.
EXPORTED int train_layers(ptrdiff_t threads, ptrdiff_t layers, ptrdiff_t sum, ptrdiff_t inputs,
                          ptrdiff_t room, ptrdiff_t channels, ptrdiff_t results, double momentum, double epsilon,
                          const int64_t *shapes, const int64_t *addresses, const float *maps, float *kept,
                          double *statistics, float *result) {
    const Shape *shape = reinterpret_cast<const Shape *>(shapes);
    const Trained *trained = reinterpret_cast<const Trained *>(addresses);
    if (!fit(shape, layers, sum, inputs, room, channels, results)) return NONSENSE;
    const float *given = maps;
    for (ptrdiff_t left = layers - 1; left >= 0; left--, shape++, trained++) {
        float *between = kept, *to = left ? kept + lines(*shape) : result;
        if (int status = convolution(threads, shape, 0, given, trained->weights, nullptr, nullptr, PLAIN, nullptr, between))
            return status;
        ++*trained->batches;
        if (int status = normalise(threads, shape->images, positions(*shape), shape->outputs, left ? RELU6 : PLAIN,
                                   shape->images * positions(*shape), momentum, epsilon, nullptr, between, trained->weight,
                                   trained->bias, trained->mean, trained->variance, nullptr, to, statistics))
            return status;
        given = to, kept = to + lines(*shape), statistics += 2 * shape->outputs;
    }
    return sum ? add(threads, results, maps, result, result) : int(DONE);
}

// addresses: a Parameters for each layer, then a Gradients for each; first, second: working memory for `largest` values, those of the largest map.
EXPORTED int train_layers_backward(ptrdiff_t threads, ptrdiff_t layers, ptrdiff_t sum, ptrdiff_t inputs,
                                   ptrdiff_t room, ptrdiff_t channels, ptrdiff_t results, ptrdiff_t largest,
                                   const int64_t *shapes, const int64_t *addresses, const float *maps, const float *kept,
                                   const double *statistics, const float *gradient, float *first, float *second,
                                   float *maps_gradient) {
    const Shape *shape = reinterpret_cast<const Shape *>(shapes);
    const Parameters *of = reinterpret_cast<const Parameters *>(addresses);
    const Gradients *into = reinterpret_cast<const Gradients *>(addresses + 3 * layers);
    if (!fit(shape, layers, sum, inputs, room, channels, results)) return NONSENSE;
    kept += room, statistics += 2 * channels;
    const float *passed = gradient;
    for (ptrdiff_t layer = layers - 1; layer >= 0; layer--) {
        const Shape &s = shape[layer];
        if (values(s) > largest) return NONSENSE;
        const float *between = kept -= lines(s), *given = layer ? kept -= lines(shape[layer - 1]) : maps;
        if (int status = normalise_backward(threads, s.images, positions(s), s.outputs, layer < layers - 1 ? RELU6 : PLAIN,
                                            s.images * positions(s), 0, nullptr, passed, between, nullptr, of[layer].weight,
                                            of[layer].bias, statistics -= 2 * s.outputs, nullptr, first, into[layer].weight,
                                            into[layer].bias))
            return status;
        if (float *weights = into[layer].weights)
            if (int status = weight_gradient(threads, &s, s.images, given, first, weights)) return status;
        float *to = layer ? second : maps_gradient;
        if (!to) return DONE;
        if (int status = convolution_backward(threads, &s, first, of[layer].weights, to)) return status;
        passed = to;
    }
    return sum ? add(threads, inputs, maps_gradient, gradient, maps_gradient) : int(DONE);
}
