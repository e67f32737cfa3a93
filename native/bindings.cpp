// The Python face of the kernels: constraints stand in the argument types, sizes are read off the
// arrays, the interpreter lock is released while a kernel runs. No arithmetic here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>

#include "direct.h"

namespace nb = nanobind;
using backstride::Axes;
using backstride::Problem;

namespace {

template <typename Scalar>
using Array = nb::ndarray<Scalar, nb::ndim<5>, nb::c_contig, nb::device::cpu>;

std::ptrdiff_t size(const nb::ndarray<>& array, std::size_t axis) {
    return static_cast<std::ptrdiff_t>(array.shape(axis));
}

Axes spatial(const nb::ndarray<>& array, std::size_t first) {
    return {size(array, first), size(array, first + 1), size(array, first + 2)};
}

// x and y are data, w is a kernel with the axis of C_big/groups at `big_axis`.
Problem problem(const nb::ndarray<>& x, const nb::ndarray<>& y, const nb::ndarray<>& w, std::size_t big_axis,
                const Axes& strides, const Axes& dilation, const Axes& before, std::ptrdiff_t groups) {
    const bool fits = groups >= 1 && size(x, 4) % groups == 0 && size(x, 0) == size(y, 0) &&
                      size(y, 4) == size(w, big_axis) * groups && size(w, 7 - big_axis) == size(x, 4);
    if (!fits) throw nb::value_error("arrays do not fit each other");
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (strides[axis] < 1 || dilation[axis] < 1) throw nb::value_error("strides and dilation must be positive");
    return {size(x, 0),    groups,     size(x, 4) / groups, size(w, big_axis), spatial(x, 1), spatial(y, 1),
            spatial(w, 0), strides, dilation,               before};
}

template <typename Scalar>
void define(nb::module_& module) {
    module.def(
        "conv_transpose",
        [](Array<const Scalar> x, Array<const Scalar> w, Array<Scalar> y, Axes strides, Axes dilation, Axes before,
           std::ptrdiff_t groups) {
            const Problem sizes = problem(nb::ndarray<>(x), nb::ndarray<>(y), nb::ndarray<>(w), 4, strides, dilation,
                                          before, groups);
            nb::gil_scoped_release release;
            backstride::conv_transpose(sizes, x.data(), w.data(), y.data());
        },
        nb::arg("x").noconvert(), nb::arg("w").noconvert(), nb::arg("y").noconvert(), nb::arg("strides"),
        nb::arg("dilation"), nb::arg("before"), nb::arg("groups"));
    module.def(
        "conv",
        [](Array<const Scalar> y, Array<const Scalar> w, Array<Scalar> x, Axes strides, Axes dilation, Axes before,
           std::ptrdiff_t groups) {
            const Problem sizes = problem(nb::ndarray<>(x), nb::ndarray<>(y), nb::ndarray<>(w), 3, strides, dilation,
                                          before, groups);
            nb::gil_scoped_release release;
            backstride::conv(sizes, y.data(), w.data(), x.data());
        },
        nb::arg("y").noconvert(), nb::arg("w").noconvert(), nb::arg("x").noconvert(), nb::arg("strides"),
        nb::arg("dilation"), nb::arg("before"), nb::arg("groups"));
    module.def(
        "conv_kernel_gradient",
        [](Array<const Scalar> x, Array<const Scalar> y, Array<Scalar> w, Axes strides, Axes dilation, Axes before,
           std::ptrdiff_t groups) {
            const Problem sizes = problem(nb::ndarray<>(x), nb::ndarray<>(y), nb::ndarray<>(w), 3, strides, dilation,
                                          before, groups);
            nb::gil_scoped_release release;
            backstride::conv_kernel_gradient(sizes, x.data(), y.data(), w.data());
        },
        nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("w").noconvert(), nb::arg("strides"),
        nb::arg("dilation"), nb::arg("before"), nb::arg("groups"));
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "Compiled kernels: C-contiguous arrays, channels last, three spatial axes, written in place.";
    define<float>(module);
    define<double>(module);
}
