"""Declarations of the kernels' exported functions (see `signatures`); a test compares them with the C++ files."""

from __future__ import annotations

import ctypes

from in4310repro.arithmetic.signatures import parse


class Shape(ctypes.Structure):
    """Sizes of a convolution, as the struct in convolution.hpp."""

    _fields_ = tuple(
        (name, ctypes.c_ssize_t)
        for name in (
            *("images", "channels", "height", "width", "outputs", "kernel_height", "kernel_width"),
            *("stride_y", "stride_x", "padding_y", "padding_x", "groups"),
        )
    )

    @property
    def rows(self) -> int:
        """Number of rows of the convolution's result."""
        return int((self.height + 2 * self.padding_y - self.kernel_height) // self.stride_y + 1)

    @property
    def columns(self) -> int:
        """Number of columns of the convolution's result."""
        return int((self.width + 2 * self.padding_x - self.kernel_width) // self.stride_x + 1)

    @property
    def group_channels(self) -> int:
        """Number of input channels in each group."""
        return int(self.channels // self.groups)


DECLARATIONS = """
const char *source()
ptrdiff_t usable()
ptrdiff_t fused_operations(ptrdiff_t rounds, float sink[1])
int shared_out(ptrdiff_t threads, ptrdiff_t items, ptrdiff_t rounds, double factor, float results[items],
    int64_t who[items])

int convolution(ptrdiff_t threads, const Shape *shape, const float maps[images height width channels],
    const float weights[outputs kernel_height kernel_width group_channels], const float bias?[outputs],
    const float norm?[3 outputs], ptrdiff_t form, float result[images rows columns outputs])
int convolution_backward(ptrdiff_t threads, const Shape *shape, const float gradient[images rows columns outputs],
    const float weights[outputs kernel_height kernel_width group_channels],
    float result[images height width channels])
int weight_gradient(ptrdiff_t threads, const Shape *shape, ptrdiff_t whole,
    const float maps[images height width channels], const float gradient[images rows columns outputs],
    float result[outputs kernel_height kernel_width group_channels])
int bias_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t outputs,
    const float gradient[images positions outputs], double leaves[images/8 2 outputs])

int linear(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t features, ptrdiff_t outputs,
    const float rows[images features], const float weight[outputs features], const float bias?[outputs],
    float result[images outputs])
int linear_rows_gradient(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t features, ptrdiff_t outputs,
    const float gradient[images outputs], const float weight[outputs features], float result[images features])
int product(ptrdiff_t threads, ptrdiff_t rows, ptrdiff_t columns, const double values[rows columns],
    double result[columns columns])

int normalisation_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
    const float maps[images positions channels], double leaves[images/8 2 channels])
int normalise(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
    ptrdiff_t rows, double momentum, double epsilon, const double sums[2 channels],
    const float maps[images positions channels], const float weight?[channels], const float bias?[channels],
    float running_mean?[channels], float running_variance?[channels], const float other?[images positions channels],
    float result[images positions channels], double statistics[2 channels])
int normalise_by(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
    double epsilon, const float maps[images positions channels], const float weight?[channels],
    const float bias?[channels], const float mean[channels], const float variance[channels],
    const float other?[images positions channels], float result[images positions channels],
    double statistics[2 channels])
int normalisation_coefficients(ptrdiff_t threads, ptrdiff_t channels, double epsilon, const float weight?[channels],
    const float bias?[channels], const float mean[channels], const float variance[channels],
    float coefficients_of[3 channels])
int normalisation_gradient_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels,
    ptrdiff_t form, const float gradient[images positions channels], const float maps[images positions channels],
    const float output?[images positions channels], const float weight?[channels], const float bias?[channels],
    const double statistics[2 channels], float other_gradient?[images positions channels],
    double leaves[images/8 2 channels])
int normalise_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t positions, ptrdiff_t channels, ptrdiff_t form,
    ptrdiff_t rows, ptrdiff_t given, const double sums[2 channels], const float gradient[images positions channels],
    const float maps[images positions channels], const float weight?[channels], const float bias?[channels],
    const double statistics[2 channels], float other_gradient?[images positions channels],
    float maps_gradient[images positions channels], float weight_gradient[channels], float bias_gradient[channels])

int average_pool(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
    ptrdiff_t rows, ptrdiff_t columns, const float maps[images height width channels],
    float result[images rows columns channels])
int average_pool_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
    ptrdiff_t rows, ptrdiff_t columns, const float gradient[images rows columns channels],
    float result[images height width channels])
int max_pool(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
    ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t kernel_y, ptrdiff_t kernel_x, ptrdiff_t stride_y, ptrdiff_t stride_x,
    ptrdiff_t padding_y, ptrdiff_t padding_x, const float maps[images height width channels],
    float result[images rows columns channels], int32_t places?[images rows columns channels])
int max_pool_backward(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t height, ptrdiff_t width,
    ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t kernel_y, ptrdiff_t kernel_x, ptrdiff_t stride_y, ptrdiff_t stride_x,
    ptrdiff_t padding_y, ptrdiff_t padding_x, const float gradient[images rows columns channels],
    const int32_t places[images rows columns channels], float result[images height width channels])
int add(ptrdiff_t threads, ptrdiff_t values, const float first[values], const float second[values],
    float result[values])

int losses(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t whole, ptrdiff_t classes, const float scores[images classes],
    const int64_t labels[images], double each[images], float gradient?[images classes])
int loss_leaves(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t whole, ptrdiff_t classes,
    const float scores[images classes], const int64_t labels[images], double leaves[images/8],
    float gradient?[images classes])
int softmax(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t classes, const float scores[images classes],
    float result[images classes])

int add_leaves(ptrdiff_t threads, ptrdiff_t leaves, ptrdiff_t width, double rows[leaves width])
int add_doubles(ptrdiff_t threads, ptrdiff_t number, const double right[number], double left[number])
int add_floats(ptrdiff_t threads, ptrdiff_t number, const float right[number], float left[number])
int quotients(ptrdiff_t threads, ptrdiff_t number, double divisor, const double values[number], float result[number])

int adamw(ptrdiff_t threads, ptrdiff_t tensors, double keep, double first, double beta2, double second, double rate,
    double scale, double epsilon, const int64_t sizes[tensors], float *const parameters[tensors sizes],
    const float *const gradients[tensors sizes], float *const averages[tensors sizes],
    float *const squares[tensors sizes])
int rmsprop(ptrdiff_t threads, ptrdiff_t tensors, double decay, double alpha, double gain, double rate, double epsilon,
    const int64_t sizes[tensors], float *const parameters[tensors sizes],
    const float *const gradients[tensors sizes], float *const squares[tensors sizes])
int sgd(ptrdiff_t threads, ptrdiff_t tensors, double decay, double momentum, double rate,
    const int64_t sizes[tensors], float *const parameters[tensors sizes],
    const float *const gradients[tensors sizes], float *const buffers?[tensors sizes])
"""

SIGNATURES = parse(DECLARATIONS, {"Shape": Shape})
