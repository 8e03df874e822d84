// Convolutions one after the other in training, each with batch norm of the batch and all but the last with ReLU6: one call
// in each direction, with the bits of the single layers' kernels.
//
// Between two sums over the batch, the passes go over a few images at a time, which stay in the third cache.

#include "batch_norm.hpp"
#include "convolution.hpp"

#include <memory>
#include <vector>

using namespace arithmetic;

extern "C" {
int convolution(ptrdiff_t threads, const Shape *shape, ptrdiff_t room, const float *maps, const float *weights,
                const float *bias, const float *norm, ptrdiff_t form, float *kept, float *result);
int convolution_backward(ptrdiff_t threads, const Shape *shape, const float *gradient, const float *weights, float *result);
int weight_gradient(ptrdiff_t threads, const Shape *shape, ptrdiff_t whole, const float *maps, const float *gradient,
                    float *result);
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

ptrdiff_t values_of_map(const Shape &s) { return s.height * s.width * s.channels; }

// Calls f(first image, number) for a few images at a time.
template <typename F>
int each_images(const Shape &s, F &&f) {
    constexpr ptrdiff_t CACHED = 1 << 21;  // values of the larger of two maps: 8 MB
    ptrdiff_t step = std::max<ptrdiff_t>(1, CACHED / std::max(values_of_map(s), positions(s) * s.outputs));
    for (ptrdiff_t image = 0; image < s.images; image += step)
        if (int status = f(image, std::min(step, s.images - image))) return status;
    return DONE;
}

// Two sums a channel over a batch whose images come one after the other.
struct Sums {
    Batch batch;
    ptrdiff_t width, done = 0;
    Memory<double> segments;

    explicit Sums(const Shape &s)
        : batch{s.images, positions(s)}, width(2 * s.outputs), segments(batch.segments() * width) {}
    // The segments that are there with so many images, and were not before.
    Segments of(ptrdiff_t images) {
        ptrdiff_t first = done;
        while (done < batch.segments() && batch.segment_end(done) <= images * batch.positions) done++;
        return {first, done};
    }
    const double *total() {
        chain_segments(batch, segments.data, width);
        return sum_of(segments, batch, width / 2);
    }
};

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
    FloatingPoint state;
    Memory<float> memory(3 * channels);
    if (!memory) return NO_MEMORY;
    Coefficients before{};
    const float *given = maps;
    for (float *ahead = memory; layers; layers--, shape++, trained++) {
        const Shape &s = *shape;
        const ptrdiff_t inner = values_of_map(s), outer = positions(s) * s.outputs;
        float *between = kept, *passed = const_cast<float *>(given);
        Sums sums(s);
        if (!sums.segments) return NO_MEMORY;
        int status = each_images(s, [&](ptrdiff_t image, ptrdiff_t number) {
            // What the layer before kept lies before what it passes on.
            if (given != maps)
                apply(threads, number * s.height * s.width, s.channels, before, RELU6,
                      given - lines(shape[-1]) + image * inner, nullptr, passed + image * inner);
            Shape part = s;
            part.images = number;
            int failed = convolution(threads, &part, 0, given + image * inner, trained->weights, nullptr, nullptr, PLAIN,
                                     nullptr, between + image * outer);
            if (!failed) sum_values(threads, sums.batch, sums.of(image + number), s.outputs, between, sums.segments);
            return failed;
        });
        if (status) return status;
        ++*trained->batches;
        Norm norm{s.outputs, trained->weight, trained->bias};
        finish(norm, double(sums.batch.rows()), sums.total(), momentum, epsilon, trained->mean, trained->variance, statistics,
               statistics + s.outputs);
        before = coefficients(norm, statistics, statistics + s.outputs, ahead);
        given = kept + lines(s), kept += 2 * lines(s), statistics += 2 * s.outputs, ahead += 3 * s.outputs;
    }
    const Shape &s = shape[-1];
    return each_images(s, [&](ptrdiff_t image, ptrdiff_t number) {
        const ptrdiff_t outer = positions(s) * s.outputs, at = image * outer;
        apply(threads, number * positions(s), s.outputs, before, PLAIN, given - lines(s) + at, nullptr, result + at);
        return sum ? add(threads, number * outer, maps + at, result + at, result + at) : int(DONE);
    });
}

// addresses: a Parameters for each layer, then a Gradients for each; working: three times `largest` values, those of the
// largest map.
EXPORTED int train_layers_backward(ptrdiff_t threads, ptrdiff_t layers, ptrdiff_t sum, ptrdiff_t inputs,
                                   ptrdiff_t room, ptrdiff_t channels, ptrdiff_t results, ptrdiff_t largest,
                                   const int64_t *shapes, const int64_t *addresses, const float *maps, const float *kept,
                                   const double *statistics, const float *gradient, float *working,
                                   float *maps_gradient) try {
    const Shape *shape = reinterpret_cast<const Shape *>(shapes);
    const Parameters *of = reinterpret_cast<const Parameters *>(addresses);
    const Gradients *into = reinterpret_cast<const Gradients *>(addresses + 3 * layers);
    if (!fit(shape, layers, sum, inputs, room, channels, results)) return NONSENSE;
    FloatingPoint state;
    Memory<float> memory(3 * channels), slopes(3 * channels);
    if (!memory || !slopes) return NO_MEMORY;
    std::vector<Coefficients> norms;
    std::vector<const float *> between;
    std::vector<const double *> means;
    float *ahead = memory;
    for (ptrdiff_t layer = 0; layer < layers; layer++, kept += 2 * lines(shape[layer - 1])) {
        const ptrdiff_t outputs = shape[layer].outputs;
        if (values(shape[layer]) > largest) return NONSENSE;
        between.push_back(kept), means.push_back(statistics);
        norms.push_back(coefficients({outputs, of[layer].weight, of[layer].bias}, statistics, statistics + outputs, ahead));
        statistics += 2 * outputs, ahead += 3 * outputs;
    }
    const float *passed = gradient;
    std::unique_ptr<Sums> sums(new Sums(shape[layers - 1])), next;
    if (!sums->segments) return NO_MEMORY;
    sum_gradients(threads, sums->batch, {0, sums->batch.segments()}, shape[layers - 1].outputs, norms.back(), PLAIN,
                  {gradient, between.back(), nullptr, nullptr}, sums->segments);
    for (ptrdiff_t layer = layers - 1; layer >= 0; layer--, sums = std::move(next)) {
        const Shape &s = shape[layer];
        const ptrdiff_t inner = values_of_map(s), outer = positions(s) * s.outputs;
        const ptrdiff_t form = layer < layers - 1 ? RELU6 : PLAIN;
        finish_gradient({s.outputs, of[layer].weight, of[layer].bias}, double(sums->batch.rows()), false, means[layer],
                        means[layer] + s.outputs, sums->total(), slopes, into[layer].weight, into[layer].bias);
        float *own = working, *to = layer ? working + (1 + layer % 2) * largest : maps_gradient;
        if (layer && !(next.reset(new Sums(shape[layer - 1])), next->segments)) return NO_MEMORY;
        int status = each_images(s, [&](ptrdiff_t image, ptrdiff_t number) {
            const ptrdiff_t at = image * outer;
            apply_gradient(threads, number * positions(s), s.outputs, norms[layer], form, false,
                           {passed + at, between[layer] + at, nullptr, nullptr}, slopes, own + at);
            Shape part = s;
            part.images = number;
            if (!to) return int(DONE);
            int failed = convolution_backward(threads, &part, own + at, of[layer].weights, to + image * inner);
            if (layer && !failed)
                sum_gradients(threads, next->batch, next->of(image + number), s.channels, norms[layer - 1], RELU6,
                              {to, between[layer - 1], nullptr, nullptr}, next->segments);
            return failed;
        });
        if (status) return status;
        const float *given = layer ? between[layer - 1] + lines(shape[layer - 1]) : maps;
        if (float *weights = into[layer].weights)
            if (int failed = weight_gradient(threads, &s, s.images, given, own, weights)) return failed;
        passed = to;
    }
    return sum && maps_gradient ? add(threads, inputs, maps_gradient, gradient, maps_gradient) : int(DONE);
} catch (const std::exception &) {
    return NO_MEMORY;
}
