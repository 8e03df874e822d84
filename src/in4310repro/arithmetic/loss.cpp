// Mean cross-entropy of scores with its gradient, and softmax; in double, each result rounded to float once.

#include "exponential.hpp"
#include "leaves.hpp"
#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t IMAGES = 8;  // that a thread takes at a time

// The largest score, nan if there is one.
double largest(const float *scores, ptrdiff_t classes) {
    double value = scores[0];
    for (ptrdiff_t k = 1; k < classes; k++)
        if (scores[k] > value || scores[k] != scores[k]) value = scores[k];
    return value;
}

// The sum of exp(score - largest), a chain over classes; keeps the exponentials.
double exponentials(const float *scores, ptrdiff_t classes, double most, double *to) {
    double sum = 0;
    for (ptrdiff_t k = 0; k < classes; k++) {
        to[k] = exponential(scores[k] - most);
        sum += to[k];
    }
    return sum;
}

// Calls f(image, its exponentials, their sum, its largest score) for all images.
template <typename F>
int each_image(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t classes, const float *scores, F &&f) {
    if (images < 1 || classes < 1) return NONSENSE;
    ptrdiff_t most = std::max<ptrdiff_t>(1, std::min(threads, images));
    Memory<double> memory(most * classes);
    if (!memory) return NO_MEMORY;
    parallel(int(most), (images + IMAGES - 1) / IMAGES, [&](ptrdiff_t item, int thread) {
        double *values = memory + thread * classes;
        for (ptrdiff_t image = item * IMAGES; image < std::min(images, (item + 1) * IMAGES); image++) {
            const float *row = scores + image * classes;
            double high = largest(row, classes);
            f(image, values, exponentials(row, classes, high, values), high);
        }
    });
    return DONE;
}

}  // namespace

EXPORTED int softmax(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t classes, const float *scores, float *result) {
    return each_image(threads, images, classes, scores, [=](ptrdiff_t image, const double *values, double sum, double) {
        for (ptrdiff_t k = 0; k < classes; k++) result[image * classes + k] = float(values[k] / sum);
    });
}

// The loss of each image, log(sum of exponentials) - (score of its label - largest score); and the gradient by the scores
// of the mean over a batch of `whole` images, (softmax - 1 at the label) / whole, unless it is null.
EXPORTED int losses(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t whole, ptrdiff_t classes, const float *scores,
                    const int64_t *labels, double *each, float *gradient) {
    for (ptrdiff_t image = 0; image < images; image++)
        if (labels[image] < 0 || labels[image] >= classes) return NONSENSE;
    return each_image(threads, images, classes, scores,
                      [=](ptrdiff_t image, const double *values, double sum, double most) {
                          const float *row = scores + image * classes;
                          each[image] = logarithm(sum) - (double(row[labels[image]]) - most);
                          for (ptrdiff_t k = 0; gradient && k < classes; k++)
                              gradient[image * classes + k] =
                                  float((values[k] / sum - double(k == labels[image])) / double(whole));
                      });
}

// Chains over the losses of each leaf's images, and the gradient.
EXPORTED int loss_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t whole, ptrdiff_t classes, const float *scores,
                         const int64_t *labels, double *leaves, float *gradient) {
    Memory<double> each(images);
    if (!each) return NO_MEMORY;
    FloatingPoint state;
    if (int status = losses(threads, images, whole, classes, scores, labels, each, gradient)) return status;
    Batch batch{images, 1};
    for (ptrdiff_t leaf = 0; leaf < batch.leaves(); leaf++) {
        double sum = 0;
        for (ptrdiff_t image = batch.begin(leaf); image < batch.begin(leaf + 1); image++) sum += each[image];
        leaves[leaf] = sum;
    }
    return DONE;
}
