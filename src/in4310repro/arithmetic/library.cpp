// What a loaded library says of itself, and a sum that shows how its threads work.
//
// Functions that leave the library are EXPORTED, return a Status and take the number of threads first; each of their
// integers is a ptrdiff_t, each of their scalars a double (library.py passes them so).

#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

EXPORTED const char *source() { return SOURCE; }

// Whether this processor has the instructions that the library was compiled for.
EXPORTED ptrdiff_t usable() {
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 0;  // fused products in software: the bits, at a hundredth of the speed
#endif
#else
    return 1;
#endif
}

// results[item] = (item + 1) * factor after `rounds` products with one; who[item] is the thread that did it.
EXPORTED int shared_out(ptrdiff_t threads, ptrdiff_t items, ptrdiff_t rounds, double factor, float *results,
                        int64_t *who) {
    if (items < 0 || rounds < 0) return NONSENSE;
    parallel(int(threads), items, [&](ptrdiff_t item, int thread) {
        volatile float value = float(item + 1), scale = float(factor), one = 1;
        value = value * scale;
        for (ptrdiff_t round = 0; round < rounds; round++) value = value * one;
        results[item] = value;
        who[item] = thread;
    });
    return DONE;
}
