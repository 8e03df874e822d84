// Vectors of the instruction set in use, and products and sums with one rounding.
//
// Lanes are different elements of the result, so its bits do not depend on the width of a vector. A product and sum
// with one rounding is always written as fma(): contraction is off (setup.py), the compiler makes none of its own.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(_WIN32)
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif

namespace arithmetic {

#if defined(__AVX512F__)
constexpr int BYTES = 64, REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int BYTES = 32, REGISTERS = 16;
#else
constexpr int BYTES = 16, REGISTERS = 32;
#endif

typedef float Floats __attribute__((vector_size(BYTES)));
typedef double Doubles __attribute__((vector_size(BYTES)));
typedef int32_t Ints __attribute__((vector_size(BYTES)));
typedef int64_t Longs __attribute__((vector_size(BYTES)));

constexpr int FLOATS = BYTES / 4, DOUBLES = BYTES / 8;  // lanes

template <typename V>
[[gnu::always_inline]] inline V load(const void *from) {
    V values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

template <typename V>
[[gnu::always_inline]] inline void store(void *to, V values) {
    std::memcpy(to, &values, sizeof values);
}

// The first lanes of a vector that reaches past what may be touched; the others are zero.
template <typename V>
[[gnu::always_inline]] inline V load(const void *from, ptrdiff_t lanes) {
    V values{};
    std::memcpy(&values, from, lanes * sizeof values[0]);
    return values;
}

template <typename V>
[[gnu::always_inline]] inline void store(void *to, V values, ptrdiff_t lanes) {
    std::memcpy(to, &values, lanes * sizeof values[0]);
}

#if defined(__AVX512F__)
// A copy of so many bytes is a call otherwise.
template <>
[[gnu::always_inline]] inline Floats load(const void *from, ptrdiff_t lanes) {
    return Floats(_mm512_maskz_loadu_ps(__mmask16((1 << lanes) - 1), from));
}
template <>
[[gnu::always_inline]] inline void store(void *to, Floats values, ptrdiff_t lanes) {
    _mm512_mask_storeu_ps(to, __mmask16((1 << lanes) - 1), __m512(values));
}
#endif

[[gnu::always_inline]] inline Floats broadcast(float value) { return value - Floats{}; }
[[gnu::always_inline]] inline Doubles broadcast(double value) { return value - Doubles{}; }

// left * right + sum with one rounding. There is no vector extension for it; a processor without one computes it in
// software, slowly and to the same bits.
[[gnu::always_inline]] inline float fma(float left, float right, float sum) { return __builtin_fmaf(left, right, sum); }
[[gnu::always_inline]] inline double fma(double left, double right, double sum) {
    return __builtin_fma(left, right, sum);
}
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Floats fma(Floats left, Floats right, Floats sum) {
    return Floats(_mm512_fmadd_ps(__m512(left), __m512(right), __m512(sum)));
}
[[gnu::always_inline]] inline Doubles fma(Doubles left, Doubles right, Doubles sum) {
    return Doubles(_mm512_fmadd_pd(__m512d(left), __m512d(right), __m512d(sum)));
}
#elif defined(__AVX2__)
[[gnu::always_inline]] inline Floats fma(Floats left, Floats right, Floats sum) {
    return Floats(_mm256_fmadd_ps(__m256(left), __m256(right), __m256(sum)));
}
[[gnu::always_inline]] inline Doubles fma(Doubles left, Doubles right, Doubles sum) {
    return Doubles(_mm256_fmadd_pd(__m256d(left), __m256d(right), __m256d(sum)));
}
#elif defined(__ARM_NEON) && defined(__aarch64__)
[[gnu::always_inline]] inline Floats fma(Floats left, Floats right, Floats sum) {
    return Floats(vfmaq_f32(float32x4_t(sum), float32x4_t(left), float32x4_t(right)));
}
[[gnu::always_inline]] inline Doubles fma(Doubles left, Doubles right, Doubles sum) {
    return Doubles(vfmaq_f64(float64x2_t(sum), float64x2_t(left), float64x2_t(right)));
}
#else
template <typename V>
[[gnu::always_inline]] inline V fma(V left, V right, V sum) {
    for (size_t lane = 0; lane < sizeof(V) / sizeof(sum[0]); lane++) sum[lane] = fma(left[lane], right[lane], sum[lane]);
    return sum;
}
#endif

// What a kernel returns.
enum Status : int { DONE = 0, NO_MEMORY = 1, NONSENSE = 2 };

// Memory on a line of the cache, uninitialised; null where there is none.
template <typename T>
struct Memory {
    T *data;

    explicit Memory(ptrdiff_t number) : data(allocated(number)) {}
    ~Memory() { release(data); }
    Memory(const Memory &) = delete;
    void operator=(const Memory &) = delete;
    operator T *() const { return data; }

   private:
    static T *allocated(ptrdiff_t number) {
        // A vector may be read past the end.
        size_t bytes = (size_t(std::max<ptrdiff_t>(number, 0)) * sizeof(T) + 2 * 64 + 63) / 64 * 64;
#if defined(_WIN32)
        return static_cast<T *>(_aligned_malloc(bytes, 64));
#else
        return static_cast<T *>(std::aligned_alloc(64, bytes));
#endif
    }
    static void release(T *data) {
#if defined(_WIN32)
        _aligned_free(data);
#else
        std::free(data);
#endif
    }
};

}  // namespace arithmetic
