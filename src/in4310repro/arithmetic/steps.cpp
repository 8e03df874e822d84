// Steps of AdamW, RMSprop and SGD: one pass over all parameters, each value by itself.
//
// Divisions and square roots are exact to half a unit in the last place everywhere; docs/arithmetic.md has the formulas.

#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t PIECE = 1 << 14;  // values that a thread takes at a time

[[gnu::always_inline]] inline Floats root(Floats values) {
#if defined(__AVX512F__)
    return Floats(_mm512_sqrt_ps(__m512(values)));
#elif defined(__AVX2__)
    return Floats(_mm256_sqrt_ps(__m256(values)));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return Floats(vsqrtq_f32(float32x4_t(values)));
#else
    for (int lane = 0; lane < FLOATS; lane++) values[lane] = std::sqrt(values[lane]);
    return values;
#endif
}

// Calls f(tensor, first value, lanes) for all vectors of all tensors, the tensors' pieces shared among threads.
template <typename F>
int each_value(ptrdiff_t threads, ptrdiff_t tensors, const int64_t *sizes, F &&f) {
    if (tensors < 0) return NONSENSE;
    Memory<ptrdiff_t> last(tensors);
    if (!last) return NO_MEMORY;
    ptrdiff_t pieces = 0;
    for (ptrdiff_t tensor = 0; tensor < tensors; tensor++)
        last[tensor] = pieces += (sizes[tensor] + PIECE - 1) / PIECE;
    parallel(int(threads), pieces, [&](ptrdiff_t piece, int) {
        ptrdiff_t tensor = std::upper_bound(last.data, last.data + tensors, piece) - last.data;
        ptrdiff_t at = (piece - (tensor ? last[tensor - 1] : 0)) * PIECE;
        ptrdiff_t end = std::min<ptrdiff_t>(at + PIECE, sizes[tensor]);
        for (; at + FLOATS <= end; at += FLOATS) f(tensor, at, std::integral_constant<ptrdiff_t, FLOATS>{});
        if (at < end) f(tensor, at, end - at);
    });
    return DONE;
}

[[gnu::always_inline]] inline Floats load_lanes(const float *from, ptrdiff_t lanes) {
    return lanes == FLOATS ? load<Floats>(from) : load<Floats>(from, lanes);
}
[[gnu::always_inline]] inline void store_lanes(float *to, Floats values, ptrdiff_t lanes) {
    lanes == FLOATS ? store(to, values) : store(to, values, lanes);
}

}  // namespace

// p = p keep;  m = m + (g - m) (1 - beta1);  v = v beta2 + ((1 - beta2) g) g;
// p = p - rate m / (root(v) scale + epsilon)
// keep = 1 - learning rate x weight decay, rate = learning rate / (1 - beta1^t), scale = 1 / root(1 - beta2^t).
EXPORTED int adamw(ptrdiff_t threads, ptrdiff_t tensors, double keep, double first, double beta2, double second,
                   double rate, double scale, double epsilon, const int64_t *sizes, float *const *parameters,
                   const float *const *gradients, float *const *averages, float *const *squares) {
    Floats keeps = broadcast(float(keep)), moves = broadcast(float(first)), stays = broadcast(float(beta2)),
           gains = broadcast(float(second)), rates = broadcast(float(-rate)), scales = broadcast(float(scale)),
           least = broadcast(float(epsilon));
    return each_value(threads, tensors, sizes, [=](ptrdiff_t tensor, ptrdiff_t at, auto lanes) __attribute__((
                                                   always_inline)) {
        Floats g = load_lanes(gradients[tensor] + at, lanes), m = load_lanes(averages[tensor] + at, lanes);
        Floats v = load_lanes(squares[tensor] + at, lanes), p = load_lanes(parameters[tensor] + at, lanes);
        m = fma(g - m, moves, m);
        v = fma(gains * g, g, v * stays);
        p = fma(rates, m / fma(root(v), scales, least), p * keeps);
        store_lanes(averages[tensor] + at, m, lanes);
        store_lanes(squares[tensor] + at, v, lanes);
        store_lanes(parameters[tensor] + at, p, lanes);
    });
}

// g = g + decay p;  v = v alpha + ((1 - alpha) g) g;  p = p - rate g / (root(v) + epsilon)
EXPORTED int rmsprop(ptrdiff_t threads, ptrdiff_t tensors, double decay, double alpha, double gain, double rate,
                     double epsilon, const int64_t *sizes, float *const *parameters, const float *const *gradients,
                     float *const *squares) {
    Floats decays = broadcast(float(decay)), stays = broadcast(float(alpha)), gains = broadcast(float(gain)),
           rates = broadcast(float(-rate)), least = broadcast(float(epsilon));
    return each_value(threads, tensors, sizes, [=](ptrdiff_t tensor, ptrdiff_t at, auto lanes) __attribute__((
                                                   always_inline)) {
        Floats v = load_lanes(squares[tensor] + at, lanes), p = load_lanes(parameters[tensor] + at, lanes);
        Floats g = load_lanes(gradients[tensor] + at, lanes);
        if (decay != 0) g = fma(decays, p, g);
        v = fma(gains * g, g, v * stays);
        store_lanes(squares[tensor] + at, v, lanes);
        store_lanes(parameters[tensor] + at, fma(rates, g / (root(v) + least), p), lanes);
    });
}

// g = g + decay p;  b = b momentum + g;  p = p - rate b.  Without momentum `buffers` is null and b is g.
EXPORTED int sgd(ptrdiff_t threads, ptrdiff_t tensors, double decay, double momentum, double rate, const int64_t *sizes,
                 float *const *parameters, const float *const *gradients, float *const *buffers) {
    Floats decays = broadcast(float(decay)), stays = broadcast(float(momentum)), rates = broadcast(float(-rate));
    return each_value(threads, tensors, sizes, [=](ptrdiff_t tensor, ptrdiff_t at, auto lanes) __attribute__((
                                                   always_inline)) {
        Floats g = load_lanes(gradients[tensor] + at, lanes), p = load_lanes(parameters[tensor] + at, lanes);
        if (decay != 0) g = fma(decays, p, g);
        if (buffers) {
            g = fma(load_lanes(buffers[tensor] + at, lanes), stays, g);
            store_lanes(buffers[tensor] + at, g, lanes);
        }
        store_lanes(parameters[tensor] + at, fma(rates, g, p), lanes);
    });
}
