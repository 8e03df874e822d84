// The tree over the leaves of a batch, and what comes after it.

#include "leaves.hpp"
#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

template <typename T>
int add(ptrdiff_t threads, ptrdiff_t number, const T *right, T *left) {
    constexpr ptrdiff_t PIECE = 1 << 14;
    parallel(int(threads), (number + PIECE - 1) / PIECE, [=](ptrdiff_t item, int) {
        for (ptrdiff_t i = item * PIECE; i < std::min(number, (item + 1) * PIECE); i++) left[i] += right[i];
    });
    return DONE;
}

}  // namespace

// The first row becomes the sum of all.
EXPORTED int add_leaves(ptrdiff_t, ptrdiff_t leaves, ptrdiff_t width, double *rows) {
    FloatingPoint state;
    add_tree(rows, leaves, width);
    return DONE;
}

// left += right: two nodes that processes have sent.
EXPORTED int add_doubles(ptrdiff_t threads, ptrdiff_t number, const double *right, double *left) {
    return add(threads, number, right, left);
}
EXPORTED int add_floats(ptrdiff_t threads, ptrdiff_t number, const float *right, float *left) {
    return add(threads, number, right, left);
}

// Rounded to float once.
EXPORTED int quotients(ptrdiff_t, ptrdiff_t number, double divisor, const double *values, float *result) {
    FloatingPoint state;
    for (ptrdiff_t i = 0; i < number; i++) result[i] = float(values[i] / divisor);
    return DONE;
}
