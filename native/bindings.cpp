// The Python face of the kernels: constraints stand in the argument types, sizes are read off the
// arrays, the interpreter lock is released while a kernel runs. No arithmetic here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <iterator>
#include <new>
#include <optional>

#include "direct.h"
#include "dispatch.h"
#include "threads.h"
#include "weights.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace backstride;

namespace {

template <typename Scalar>
using Array = nb::ndarray<Scalar, nb::ndim<5>, nb::c_contig, nb::device::cpu>;
template <typename Scalar>
using Flat = nb::ndarray<Scalar, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// What the arrays do not say of a problem.
struct Options {
    Axes kernel, strides, dilation, before;
    Index groups;
};

template <typename Any>
Axes spatial(const Any& array, std::size_t first) {
    return {static_cast<Index>(array.shape(first)), static_cast<Index>(array.shape(first + 1)),
            static_cast<Index>(array.shape(first + 2))};
}

// x is (batch, *input, groups*small) and y is (batch, *output, groups*big).
template <typename X, typename Y>
Problem problem(const X& x, const Y& y, const Options& o) {
    const auto inputs = static_cast<Index>(x.shape(4)), outputs = static_cast<Index>(y.shape(4));
    if (o.groups < 1 || inputs % o.groups || outputs % o.groups || x.shape(0) != y.shape(0))
        throw nb::value_error("x and y do not fit each other");
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (o.strides[axis] < 1 || o.dilation[axis] < 1 || o.kernel[axis] < 1)
            throw nb::value_error("kernel, strides and dilation must be positive");
    return {static_cast<Index>(x.shape(0)), o.groups, inputs / o.groups, outputs / o.groups, spatial(x, 1),
            spatial(y, 1), o.kernel, o.strides, o.dilation, o.before};
}

void require_size(std::size_t found, Index expected) {
    if (static_cast<Index>(found) != expected) throw nb::value_error("an array has the wrong size");
}

Index kernel_size(const Problem& p) {
    return p.kernel[0] * p.kernel[1] * p.kernel[2] * p.big * p.small * p.groups;
}

template <typename Scalar>
Epilogue<Scalar> epilogue(const std::optional<Flat<const Scalar>>& bias, int activation, Index channels) {
    if (bias) require_size(bias->size(), channels);
    if (activation < 0 || activation > static_cast<int>(Activation::silu))
        throw nb::value_error("no such activation");
    return {bias ? bias->data() : nullptr, static_cast<Activation>(activation)};
}

const char* const algorithms[] = {"automatic", "phases", "stacked", "winograd", "overlap", "depthwise", "definition"};

Algorithm algorithm_named(const std::string& name) {
    for (std::size_t n = 0; n < std::size(algorithms); ++n)
        if (name == algorithms[n]) return static_cast<Algorithm>(n);
    throw nb::value_error("no such algorithm");
}

// w is a kernel (*k, big, groups*small).
template <typename Scalar>
void make(Weights<Scalar>* self, Array<const Scalar> w, const std::string& target, bool transpose, Axes strides,
          Axes dilation, Index groups, const std::string& algorithm, bool winograd) {
    const auto inputs = static_cast<Index>(w.shape(4));
    if (groups < 1 || inputs % groups) throw nb::value_error("groups must divide the channels");
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (strides[axis] < 1 || dilation[axis] < 1) throw nb::value_error("strides and dilation must be positive");
    const Problem p{1, groups, inputs / groups, static_cast<Index>(w.shape(3)), {1, 1, 1}, {1, 1, 1},
                    spatial(w, 0), strides, dilation, {0, 0, 0}};
    const Kernels<Scalar>& kernels = kernels_of<Scalar>(target);
    const Choice choice{algorithm_named(algorithm), winograd};
    nb::gil_scoped_release release;
    new (self) Weights<Scalar>(p, kernels, transpose, choice, w.data());
}

template <typename Scalar>
void run(const Weights<Scalar>& self, Array<const Scalar> source, std::optional<Flat<const Scalar>> bias, int activation,
         Array<Scalar> target, Axes before, bool transpose) {
    const Problem& own = self.problem();
    const Options options{own.kernel, own.strides, own.dilation, before, own.groups};
    const Problem p = transpose ? problem(source, target, options) : problem(target, source, options);
    if (p.small != own.small || p.big != own.big) throw nb::value_error("an array has the wrong channels for the weights");
    const Epilogue<Scalar> end = epilogue<Scalar>(bias, activation, p.groups * (transpose ? p.big : p.small));
    nb::gil_scoped_release release;
    self.run(p, source.data(), end, target.data());
}

template <typename Scalar>
void define(nb::module_& module, const char* name) {
    nb::class_<Weights<Scalar>>(module, name)
        .def("__init__", make<Scalar>, "w"_a.noconvert(), "target"_a, "transpose"_a, "strides"_a, "dilation"_a, "groups"_a,
             "algorithm"_a, "winograd"_a)
        .def_prop_ro("algorithm", [](const Weights<Scalar>& self) { return algorithms[static_cast<int>(self.algorithm())]; })
        .def_prop_ro("outputs", [](const Weights<Scalar>& self) { return self.problem().groups * self.problem().big; })
        .def("same", [](const Weights<Scalar>& self, Array<const Scalar> w) { return self.same(w.data()); }, "w"_a.noconvert())
        .def("run", run<Scalar>, "source"_a.noconvert(), "bias"_a.none().noconvert(), "activation"_a, "target"_a.noconvert(),
             "before"_a, "transpose"_a);
    module.def(
        "conv_kernel_gradient",
        [](Array<const Scalar> x, Array<const Scalar> y, Array<Scalar> w, const std::string& target, Axes strides,
           Axes dilation, Axes before, Index groups) {
            const Problem p = problem(x, y, {spatial(w, 0), strides, dilation, before, groups});
            require_size(w.size(), kernel_size(p));
            const Kernels<Scalar>& kernels = kernels_of<Scalar>(target);
            nb::gil_scoped_release release;
            correlate_kernel_gradient(p, kernels, x.data(), y.data(), w.data());
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "w"_a.noconvert(), "target"_a, "strides"_a, "dilation"_a, "before"_a,
        "groups"_a);
    module.def(
        "direct_conv_transpose",
        [](Array<const Scalar> x, Flat<const Scalar> w, Array<Scalar> y, Axes kernel, Axes strides, Axes dilation,
           Axes before, Index groups) {
            const Problem p = problem(x, y, {kernel, strides, dilation, before, groups});
            require_size(w.size(), kernel_size(p));
            nb::gil_scoped_release release;
            direct_conv_transpose(p, x.data(), w.data(), y.data());
        },
        "x"_a.noconvert(), "w"_a.noconvert(), "y"_a.noconvert(), "kernel"_a, "strides"_a, "dilation"_a, "before"_a,
        "groups"_a);
    module.def(
        "direct_conv",
        [](Array<const Scalar> y, Flat<const Scalar> w, Array<Scalar> x, Axes kernel, Axes strides, Axes dilation,
           Axes before, Index groups) {
            const Problem p = problem(x, y, {kernel, strides, dilation, before, groups});
            require_size(w.size(), kernel_size(p));
            nb::gil_scoped_release release;
            direct_conv(p, y.data(), w.data(), x.data());
        },
        "y"_a.noconvert(), "w"_a.noconvert(), "x"_a.noconvert(), "kernel"_a, "strides"_a, "dilation"_a, "before"_a,
        "groups"_a);
    module.def(
        "direct_conv_kernel_gradient",
        [](Array<const Scalar> x, Array<const Scalar> y, Array<Scalar> w, Axes strides, Axes dilation, Axes before,
           Index groups) {
            const Problem p = problem(x, y, {spatial(w, 0), strides, dilation, before, groups});
            require_size(w.size(), kernel_size(p));
            nb::gil_scoped_release release;
            direct_conv_kernel_gradient(p, x.data(), y.data(), w.data());
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "w"_a.noconvert(), "strides"_a, "dilation"_a, "before"_a, "groups"_a);
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "Compiled kernels: C-contiguous arrays, channels last, three spatial axes, written in place.";
    module.def("instruction_sets", instruction_sets);
    module.def("set_num_threads", set_num_threads, "count"_a);
    module.def("get_num_threads", get_num_threads);
    define<float>(module, "Weights32");
    define<double>(module, "Weights64");
}
