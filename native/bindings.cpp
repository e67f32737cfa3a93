// What Python sees of the kernels: constraints stand in the argument types, sizes are read off the
// arrays, the interpreter lock is released while a kernel runs. No arithmetic here. Longer than
// other files: what nanobind makes of a type exists once for all functions of a module that are
// compiled together.
//
// Arrays of the direct kernels are C-contiguous, (batch, *size, channels) with three spatial axes;
// those of all others have one to three, in any order of axes. A wrong size is a ValueError, never
// a read or a write beyond an array.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>

#include "axis_tiles.h"
#include "boxes.h"
#include "columns.h"
#include "direct.h"
#include "dispatch.h"
#include "pages.h"
#include "probe.h"
#include "results.h"
#include "threads.h"
#include "tuning.h"
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
    return {
        .batch = static_cast<Index>(x.shape(0)),
        .groups = o.groups,
        .small = inputs / o.groups,
        .big = outputs / o.groups,
        .input = spatial(x, 1),
        .output = spatial(y, 1),
        .kernel = o.kernel,
        .strides = o.strides,
        .dilation = o.dilation,
        .before = o.before,
    };
}

void require_size(std::size_t found, Index expected) {
    if (static_cast<Index>(found) != expected) throw nb::value_error("an array has the wrong size");
}

Index kernel_size(const Problem& p) { return p.kernel[0] * p.kernel[1] * p.kernel[2] * p.big * p.small * p.groups; }

template <typename Scalar>
Epilogue<Scalar> epilogue(const std::optional<Flat<const Scalar>>& bias, int activation, Index channels) {
    if (bias) require_size(bias->size(), channels);
    if (activation < 0 || activation > static_cast<int>(Activation::silu)) throw nb::value_error("no such activation");
    return {.bias = bias ? bias->data() : nullptr, .activation = static_cast<Activation>(activation)};
}

// Half precision by its number: those of `Storage` in implementation.py.
Storage storage_of(int code) {
    if (code < 0 || code > static_cast<int>(Storage::bfloat16)) throw nb::value_error("no such storage");
    return static_cast<Storage>(code);
}

bool signalled() {
    const nb::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
}

// On a thread of its own: what this one keeps belongs to the call that it is in.
template <typename Work>
void aside(const Work& work) {
    std::exception_ptr failure;
    const nb::gil_scoped_release release;
    try {
        std::thread([&] {
            try {
                require_memory();
                work();
            } catch (...) {
                failure = std::current_exception();
            }
        }).join();
    } catch (const std::system_error&) {
        throw std::bad_alloc();
    }
    if (failure) std::rethrow_exception(failure);
}

// Without the interpreter lock, but hearing Ctrl-C.
template <typename Work>
void unlocked(const Work& work) {
    require_memory();
    if (is_asking()) return aside(work);
    bool stopped = false;
    {
        const nb::gil_scoped_release release;
        const Interruptible scope(signalled);
        try {
            work();
        } catch (const Interrupted&) {
            stopped = true;
        }
    }
    if (stopped) throw nb::python_error();
}

const char* const algorithms[] = {"automatic", "phases", "stacked", "winograd", "overlap", "depthwise", "definition"};

Algorithm algorithm_named(const std::string& name) {
    for (std::size_t n = 0; n < std::size(algorithms); ++n)
        if (name == algorithms[n]) return static_cast<Algorithm>(n);
    throw nb::value_error("no such algorithm");
}

// w is a kernel (*k, big, groups*small).
template <typename Scalar>
Weights<Scalar> unpacked(const Array<const Scalar>& w, const std::string& target, bool transpose, Axes strides,
                         Axes dilation, Index groups, const Choice& choice, bool borrow) {
    const auto inputs = static_cast<Index>(w.shape(4));
    if (groups < 1 || inputs % groups) throw nb::value_error("groups must divide the channels");
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (strides[axis] < 1 || dilation[axis] < 1) throw nb::value_error("strides and dilation must be positive");
    const Problem p{
        .batch = 1,
        .groups = groups,
        .small = inputs / groups,
        .big = static_cast<Index>(w.shape(3)),
        .input = {1, 1, 1},
        .output = {1, 1, 1},
        .kernel = spatial(w, 0),
        .strides = strides,
        .dilation = dilation,
        .before = {0, 0, 0},
    };
    const Kernels<Scalar>& kernels = kernels_of<Scalar>(target);
    require_memory();
    nb::gil_scoped_release release;
    return Weights<Scalar>(p, kernels, transpose, choice, w.data(), borrow);
}

template <typename Scalar>
void make(Weights<Scalar>* self, Array<const Scalar> w, const std::string& target, bool transpose, Axes strides,
          Axes dilation, Index groups, const std::string& algorithm, bool winograd) {
    const Choice choice{.algorithm = algorithm_named(algorithm), .winograd = winograd};
    new (self) Weights<Scalar>(unpacked(w, target, transpose, strides, dilation, groups, choice, false));
}

// Weights of a transposed convolution for one call, which may read w itself.
template <typename Scalar>
Weights<Scalar>* borrow(const Array<const Scalar>& w, const std::string& target, Axes strides, Axes dilation,
                        Index groups, bool winograd) {
    return new Weights<Scalar>(unpacked(w, target, true, strides, dilation, groups, {.winograd = winograd}, true));
}

template <typename Scalar>
std::vector<std::string> algorithm_names(const Problem& p, const std::string& target) {
    std::vector<std::string> names;
    for (const Algorithm algorithm : algorithms_for(p, kernels_of<Scalar>(target)))
        names.emplace_back(algorithms[static_cast<int>(algorithm)]);
    return names;
}

// Cycles of one thread by each algorithm, in the order of the fields of Cost.
template <typename Scalar>
std::vector<std::pair<std::string, std::array<double, 5>>> predicted(const Problem& p, const std::string& target,
                                                                     bool forced, const Rates& rates) {
    std::vector<std::pair<std::string, std::array<double, 5>>> result;
    for (const auto& [algorithm, cost] : predictions(p, kernels_of<Scalar>(target), forced, rates))
        result.emplace_back(algorithms[static_cast<int>(algorithm)],
                            std::array{cost.products, cost.steps, cost.weights, cost.transforms, cost.data});
    return result;
}

template <typename Scalar>
using Strided = nb::ndarray<Scalar, nb::device::cpu>;

// One side of a call: (batch, *size, channels) or (batch, channels, *size), with 1 to 3 spatial axes.
template <typename Scalar>
struct CallSide {
    Index batch, channels;
    Axes size{1, 1, 1};
    View<Scalar> view;

    CallSide(const Strided<Scalar>& array, bool channels_first) {
        const std::size_t rank = array.ndim();
        if (rank < 3 || rank > 5) throw nb::value_error("an array must have 1 to 3 spatial axes");
        const std::size_t channel = channels_first ? 1 : rank - 1, first = channels_first ? 2 : 1;
        Axes steps{0, 0, 0};
        for (std::size_t axis = 5 - rank; axis < 3; ++axis) {
            size[axis] = static_cast<Index>(array.shape(first + axis - (5 - rank)));
            steps[axis] = static_cast<Index>(array.stride(first + axis - (5 - rank)));
        }
        batch = static_cast<Index>(array.shape(0));
        channels = static_cast<Index>(array.shape(channel));
        const auto step = static_cast<Index>(array.stride(channel));
        for (std::size_t axis = 3; axis-- > 0;)  // axes of one cell: any step will do, the dense one is recognised
            if (size[axis] == 1)
                steps[axis] = axis == 2 ? (channels_first ? 1 : channels) : steps[axis + 1] * size[axis + 1];
        const Index image = batch == 1 ? channels * cells(size) : static_cast<Index>(array.stride(0));
        view = {
            .data = array.data(),
            .image = image,
            .plane = steps[0],
            .line = steps[1],
            .cell = steps[2],
            .channel = step,
        };
    }
};

// What a call is, by its arrays.
template <typename Scalar, typename Stored>
Problem problem_of(const Weights<Scalar>& self, const CallSide<const Stored>& from, const CallSide<Stored>& to,
                   Axes before, bool transpose) {
    const Problem& own = self.problem();
    const Index small = transpose ? from.channels : to.channels, big = transpose ? to.channels : from.channels;
    if (from.batch != to.batch || small != own.groups * own.small || big != own.groups * own.big)
        throw nb::value_error("the arrays do not fit the weights");
    Problem p = own;
    p.batch = from.batch;
    p.input = transpose ? from.size : to.size;
    p.output = transpose ? to.size : from.size;
    p.before = before;
    return p;
}

template <typename Scalar>
void run(const Weights<Scalar>& self, const Strided<const Scalar>& source,
         const std::optional<Flat<const Scalar>>& bias, int activation, const Strided<Scalar>& target,
         bool channels_first, Axes before, bool transpose) {
    const CallSide<const Scalar> from(source, channels_first);
    const CallSide<Scalar> to(target, channels_first);
    const Problem p = problem_of(self, from, to, before, transpose);
    const Epilogue<Scalar> end = epilogue<Scalar>(bias, activation, to.channels);
    unlocked([&] { self.run(p, from.view, end, to.view); });
}

// The same for the bits of half precision.
template <typename Scalar>
void run_half(const Weights<Scalar>& self, const Strided<const Half>& source,
              const std::optional<Flat<const Scalar>>& bias, int activation, const Strided<Half>& target,
              bool channels_first, Axes before, bool transpose, int storage) {
    const CallSide<const Half> from(source, channels_first);
    const CallSide<Half> to(target, channels_first);
    const Problem p = problem_of(self, from, to, before, transpose);
    const Epilogue<Scalar> end = epilogue<Scalar>(bias, activation, to.channels);
    const Storage stored = storage_of(storage);
    unlocked([&] { self.run(p, from.view, end, to.view, stored); });
}

// Whether two arrays hold the same bytes; large ones, which come from memory, are read by all threads.
bool same_bytes(const char* a, const char* b, std::size_t bytes) {
    using tuning::memory::least_shared, tuning::memory::piece;
    if (bytes < least_shared) return std::memcmp(a, b, bytes) == 0;
    std::atomic<bool> same{true};
    unlocked([&] {
        parallel(ceil_div(static_cast<Index>(bytes), static_cast<Index>(piece)), [&](Index task) {
            const std::size_t from = static_cast<std::size_t>(task) * piece;
            if (same.load() && std::memcmp(a + from, b + from, std::min(piece, bytes - from)) != 0) same.store(false);
        });
    });
    return same.load();
}

// One convolution with weights that are packed for it alone.
template <typename Scalar>
void conv(const Strided<const Scalar>& source, Array<const Scalar> w, const std::optional<Flat<const Scalar>>& bias,
          int activation, const Strided<Scalar>& target, const std::string& name, bool channels_first, Axes strides,
          Axes dilation, Axes before, Index groups, bool winograd) {
    const Weights<Scalar> weights = unpacked(w, name, false, strides, dilation, groups, {.winograd = winograd}, true);
    run(weights, source, bias, activation, target, channels_first, before, false);
}

template <typename Scalar>
void conv_half(const Strided<const Half>& source, Array<const Scalar> w, const std::optional<Flat<const Scalar>>& bias,
               int activation, const Strided<Half>& target, const std::string& name, bool channels_first, Axes strides,
               Axes dilation, Axes before, Index groups, bool winograd, int storage) {
    const Weights<Scalar> weights = unpacked(w, name, false, strides, dilation, groups, {.winograd = winograd}, true);
    run_half(weights, source, bias, activation, target, channels_first, before, false, storage);
}

// w (*kernel, big, groups*small) from both sides of a call, in any order of axes.
template <typename Scalar, typename Stored>
void kernel_gradient(const Strided<const Stored>& x, const Strided<const Stored>& y, Array<Scalar> w,
                     const std::string& name, bool channels_first, Axes strides, Axes dilation, Axes before,
                     Index groups, bool winograd, Storage storage) {
    const CallSide<const Stored> small(x, channels_first), large(y, channels_first);
    const Axes kernel = spatial(w, 0);
    const Problem p{
        .batch = small.batch,
        .groups = groups,
        .small = small.channels / std::max<Index>(groups, 1),
        .big = static_cast<Index>(w.shape(3)),
        .input = small.size,
        .output = large.size,
        .kernel = kernel,
        .strides = strides,
        .dilation = dilation,
        .before = before,
    };
    if (groups < 1 || small.channels != groups * p.small || large.channels != groups * p.big ||
        small.batch != large.batch)
        throw nb::value_error("the arrays do not fit each other");
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (strides[axis] < 1 || dilation[axis] < 1 || kernel[axis] < 1)
            throw nb::value_error("kernel, strides and dilation must be positive");
    require_size(w.size(), kernel_size(p));
    const Kernels<Scalar>& kernels = kernels_of<Scalar>(name);
    unlocked([&] {
        correlate_views<Scalar, Stored>(p, kernels, small.view, large.view, w.data(),
                                        winograd ? GradientChoice::automatic : GradientChoice::no_tiles, storage);
    });
}

// A convolution of stride 1 by tiles along its first axis: arrays (batch, cells, channels), or with channels in the
// second place, the cells those of the axis and of the plane. No plane is one of no cells.
bool axis_convolution(const Weights<float>& weights,
                      const nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>& source,
                      bool source_first, const nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>& target,
                      bool target_first, const Flat<const float>& offset, const Flat<const float>& input,
                      const Flat<const float>& output, Index before, Index count, Index dilation, Index taps,
                      std::array<Index, 2> plane, std::array<Index, 2> target_plane, std::array<Index, 2> crop,
                      Index strip, const std::string& name) {
    const Problem& p = weights.problem();
    const bool planar = plane[0] > 0;
    const Index inner = planar ? plane[0] * plane[1] : 1, target_inner = planar ? target_plane[0] * target_plane[1] : 1;
    const auto cells = static_cast<Index>(source.shape(source_first ? 2 : 1));
    if (inner < 1 || target_inner < 1 || before < 0 || count < 1 || dilation < 1 || taps < 1 || cells % inner)
        throw nb::value_error("the sizes do not fit each other");
    require_size(source.shape(source_first ? 1 : 2), p.small);
    require_size(target.shape(target_first ? 1 : 2), p.big);
    require_size(target.shape(target_first ? 2 : 1), count * target_inner);
    require_size(target.shape(0), static_cast<Index>(source.shape(0)));
    require_size(offset.size(), p.groups * p.big);
    require_size(input.size(), p.groups * p.groups);
    require_size(output.size(), p.groups * axis_outputs);
    if (!planar && p.kernel[dilation > 1 ? 2 : 1] != 1) throw nb::value_error("blocks stand along the other axis");
    if (p.groups != 6 && p.groups != 7) throw nb::value_error("tiles have 6 or 7 points");
    const AxisConvolution<float> job{
        .weights = weights,
        .offset = offset.data(),
        .input = input.data(),
        .output = output.data(),
        .batch = static_cast<Index>(source.shape(0)),
        .length = cells / inner,
        .before = before,
        .count = count,
        .dilation = dilation,
        .taps = taps,
        .plane = plane,
        .target_plane = target_plane,
        .crop = crop,
        .source = source.data(),
        .target = target.data(),
        .source_first = source_first,
        .target_first = target_first,
        .strip = strip,
    };
    const Kernels<float>& kernels = kernels_of<float>(name);
    bool fits = false;
    unlocked([&] { fits = run_axis_convolution(job, kernels); });
    return fits;
}

// An array for a large result, not initialised.
template <typename Scalar>
nb::object empty(const std::vector<std::size_t>& shape) {
    std::size_t bytes = sizeof(Scalar);
    for (const std::size_t size : shape)
        if (__builtin_mul_overflow(bytes, size, &bytes)) throw std::bad_alloc();
    if (bytes < least_kept) throw nb::value_error("small arrays come from elsewhere");
    void* data = take_result(bytes);
    const nb::capsule owner(data, [](void* memory) noexcept { give_result(memory); });
    return nb::cast(nb::ndarray<nb::numpy, Scalar>(data, shape.size(), shape.data(), owner));
}

// (n, rows, columns) to (n, columns, rows).
template <typename Scalar>
void transpose_matrices(const nb::ndarray<const Scalar, nb::ndim<3>, nb::c_contig, nb::device::cpu>& from,
                        const nb::ndarray<Scalar, nb::ndim<3>, nb::c_contig, nb::device::cpu>& to,
                        const std::string& name) {
    const auto count = static_cast<Index>(from.shape(0)), rows = static_cast<Index>(from.shape(1)),
               columns = static_cast<Index>(from.shape(2));
    if (to.shape(0) != from.shape(0) || to.shape(1) != from.shape(2) || to.shape(2) != from.shape(1))
        throw nb::value_error("an array has the wrong size");
    const Kernels<Scalar>& kernels = kernels_of<Scalar>(name);
    const Scalar* source = from.data();
    Scalar* target = to.data();
    unlocked([&] { transpose_all(kernels, source, count, rows, columns, target); });
}

// The sizes of a y and of its columns, which must fit.
template <typename Number>
Problem of_columns(const Array<Number>& y, std::size_t rows, std::size_t row, const std::array<Axes, 5>& sizes,
                   bool last) {
    const auto& [input, kernel, strides, dilation, before] = sizes;
    const Problem p{
        .batch = static_cast<Index>(y.shape(0)),
        .groups = 1,
        .small = 1,
        .big = static_cast<Index>(y.shape(last ? 4 : 1)),
        .input = input,
        .output = spatial(y, last ? 1 : 2),
        .kernel = kernel,
        .strides = strides,
        .dilation = dilation,
        .before = before,
    };
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (input[axis] < 0 || kernel[axis] < 1 || strides[axis] < 1 || dilation[axis] < 1)
            throw nb::value_error("the sizes do not fit each other");
    require_size(rows, p.batch * input[0] * input[1] * input[2]);
    require_size(row, kernel_size(p));
    return p;
}

template <typename Number>
void to_columns(const Array<const Number>& y,
                const nb::ndarray<Number, nb::ndim<2>, nb::c_contig, nb::device::cpu>& columns,
                const std::array<Axes, 5>& sizes, bool last) {
    const Problem p = of_columns(y, columns.shape(0), columns.shape(1), sizes, last);
    unlocked([&] { lay_columns(p, y.data(), columns.data(), last); });
}

void from_columns(const nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>& columns,
                  const std::optional<Flat<const float>>& bias, const Array<float>& y, const std::array<Axes, 5>& sizes,
                  bool last) {
    const Problem p = of_columns(y, columns.shape(0), columns.shape(1), sizes, last);
    if (bias) require_size(bias->size(), p.big);
    unlocked([&] { sum_columns(p, columns.data(), bias ? bias->data() : nullptr, y.data(), last); });
}

// A kernel (taps, big, small) to (small, big, taps), or `back`.
template <typename Scalar>
void transpose_taps(const nb::ndarray<const Scalar, nb::ndim<3>, nb::c_contig, nb::device::cpu>& from,
                    const nb::ndarray<Scalar, nb::ndim<3>, nb::c_contig, nb::device::cpu>& to, const std::string& name,
                    bool back) {
    const auto taps = static_cast<Index>(from.shape(back ? 2 : 0)), big = static_cast<Index>(from.shape(1)),
               small = static_cast<Index>(from.shape(back ? 0 : 2));
    if (to.shape(0) != from.shape(2) || to.shape(1) != from.shape(1) || to.shape(2) != from.shape(0))
        throw nb::value_error("an array has the wrong size");
    if (from.size() == 0) return;
    const Kernels<Scalar>& kernels = kernels_of<Scalar>(name);
    const Scalar* source = from.data();
    Scalar* target = to.data();
    unlocked([&] { transpose_kernel(kernels, source, taps, big, small, target, back); });
}

template <typename Scalar>
void define(nb::module_& module, const char* name) {
    nb::class_<Weights<Scalar>>(module, name)
        .def("__init__", make<Scalar>, "w"_a.noconvert(), "target"_a, "transpose"_a, "strides"_a, "dilation"_a,
             "groups"_a, "algorithm"_a, "winograd"_a)
        .def_prop_ro("algorithm",
                     [](const Weights<Scalar>& self) { return algorithms[static_cast<int>(self.algorithm())]; })
        .def(
            "algorithm_of",
            [](const Weights<Scalar>& self, int storage) {
                return algorithms[static_cast<int>(self.algorithm(storage_of(storage)))];
            },
            "storage"_a)
        .def_prop_ro("forced", &Weights<Scalar>::forced)
        .def_prop_ro("dtype", [](const Weights<Scalar>&) { return sizeof(Scalar) == 4 ? "float32" : "float64"; })
        .def_prop_ro("outputs", [](const Weights<Scalar>& self) { return self.problem().groups * self.problem().big; })
        .def("run", run<Scalar>, "source"_a.noconvert(), "bias"_a.none().noconvert(), "activation"_a,
             "target"_a.noconvert(), "channels_first"_a, "before"_a, "transpose"_a)
        .def("run_half", run_half<Scalar>, "source"_a.noconvert(), "bias"_a.none().noconvert(), "activation"_a,
             "target"_a.noconvert(), "channels_first"_a, "before"_a, "transpose"_a, "storage"_a);
    module.def("borrow", borrow<Scalar>, "w"_a.noconvert(), "target"_a, "strides"_a, "dilation"_a, "groups"_a,
               "winograd"_a, nb::keep_alive<0, 1>());
    module.def("conv", conv<Scalar>, "source"_a.noconvert(), "w"_a.noconvert(), "bias"_a.none().noconvert(),
               "activation"_a, "target"_a.noconvert(), "name"_a, "channels_first"_a, "strides"_a, "dilation"_a,
               "before"_a, "groups"_a, "winograd"_a);
    module.def("conv_half", conv_half<Scalar>, "source"_a.noconvert(), "w"_a.noconvert(), "bias"_a.none().noconvert(),
               "activation"_a, "target"_a.noconvert(), "name"_a, "channels_first"_a, "strides"_a, "dilation"_a,
               "before"_a, "groups"_a, "winograd"_a, "storage"_a);
    module.def("turn", transpose_matrices<Scalar>, "source"_a.noconvert(), "target"_a.noconvert(), "name"_a);
    module.def("turn_taps", transpose_taps<Scalar>, "source"_a.noconvert(), "target"_a.noconvert(), "name"_a, "back"_a);
    module.def(sizeof(Scalar) == 4 ? "empty32" : "empty64", empty<Scalar>, "shape"_a);
    module.def(
        "conv_kernel_gradient",
        [](Strided<const Scalar> x, Strided<const Scalar> y, Array<Scalar> w, const std::string& name,
           bool channels_first, Axes strides, Axes dilation, Axes before, Index groups, bool winograd) {
            kernel_gradient<Scalar, Scalar>(x, y, w, name, channels_first, strides, dilation, before, groups, winograd,
                                            Storage::float16);
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "w"_a.noconvert(), "name"_a, "channels_first"_a, "strides"_a,
        "dilation"_a, "before"_a, "groups"_a, "winograd"_a);
    module.def(
        "direct_conv_transpose",
        [](Array<const Scalar> x, Flat<const Scalar> w, Array<Scalar> y, Axes kernel, Axes strides, Axes dilation,
           Axes before, Index groups) {
            const Problem p = problem(
                x, y, {.kernel = kernel, .strides = strides, .dilation = dilation, .before = before, .groups = groups});
            require_size(w.size(), kernel_size(p));
            unlocked([&] { direct_conv_transpose(p, x.data(), w.data(), y.data()); });
        },
        "x"_a.noconvert(), "w"_a.noconvert(), "y"_a.noconvert(), "kernel"_a, "strides"_a, "dilation"_a, "before"_a,
        "groups"_a);
    module.def(
        "direct_conv",
        [](Array<const Scalar> y, Flat<const Scalar> w, Array<Scalar> x, Axes kernel, Axes strides, Axes dilation,
           Axes before, Index groups) {
            const Problem p = problem(
                x, y, {.kernel = kernel, .strides = strides, .dilation = dilation, .before = before, .groups = groups});
            require_size(w.size(), kernel_size(p));
            unlocked([&] { direct_conv(p, y.data(), w.data(), x.data()); });
        },
        "y"_a.noconvert(), "w"_a.noconvert(), "x"_a.noconvert(), "kernel"_a, "strides"_a, "dilation"_a, "before"_a,
        "groups"_a);
    module.def(
        "direct_conv_kernel_gradient",
        [](Array<const Scalar> x, Array<const Scalar> y, Array<Scalar> w, Axes strides, Axes dilation, Axes before,
           Index groups) {
            const Problem p = problem(x, y,
                                      {.kernel = spatial(w, 0),
                                       .strides = strides,
                                       .dilation = dilation,
                                       .before = before,
                                       .groups = groups});
            require_size(w.size(), kernel_size(p));
            unlocked([&] { direct_conv_kernel_gradient(p, x.data(), y.data(), w.data()); });
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "w"_a.noconvert(), "strides"_a, "dilation"_a, "before"_a, "groups"_a);
}

}  // namespace

NB_MODULE(_native, module) {
    nb::set_leak_warnings(false);  // plans may live in modules until the interpreter ends
    prepare_threads();
    prepare_weights();
    (void)release_results();
    (void)pairs_of(kernels_of<float>(instruction_sets().front()));
    module.doc() = "Compiled kernels: C-contiguous arrays, channels last, three spatial axes, written in place.";
    module.def("instruction_sets", instruction_sets);
    module.def("processor_features", processor_features);
    module.def(
        "has_matrices", [](const std::string& name) { return matrices_of(kernels_of<float>(name)) != nullptr; },
        "name"_a);
    module.def("vectors_of", vectors_of, "name"_a);
    module.def(
        "measure",
        [](const std::string& name, const std::vector<Index>& working_sets, double seconds) {
            nb::gil_scoped_release release;
            const Measured measured = measure(name, working_sets, seconds);
            return std::make_tuple(measured.hertz, measured.multiply_adds, measured.rates, measured.memory);
        },
        "name"_a, "working_sets"_a, "seconds"_a);
    module.def(
        "algorithms",
        [](Axes kernel, Axes strides, Axes dilation, Index groups, Index small, Index big, const std::string& target,
           bool twice) {
            const Problem p{
                .batch = 1,
                .groups = groups,
                .small = small,
                .big = big,
                .input = {1, 1, 1},
                .output = {1, 1, 1},
                .kernel = kernel,
                .strides = strides,
                .dilation = dilation,
                .before = {0, 0, 0},
            };
            return twice ? algorithm_names<double>(p, target) : algorithm_names<float>(p, target);
        },
        "kernel"_a, "strides"_a, "dilation"_a, "groups"_a, "small"_a, "big"_a, "target"_a, "twice"_a);
    module.def(
        "nominal_rates",
        [](const std::string& name) {
            const Rates r = nominal_rates(kernels_of<float>(name).lanes * 4);
            return std::array<double, 8>{r.multiply_adds, r.loads,      r.second,      r.third,
                                         r.memory,        r.first_size, r.second_size, r.third_size};
        },
        "name"_a);
    module.def(
        "predictions",
        [](Index batch, Index groups, Index small, Index big, Axes input, Axes output, Axes kernel, Axes strides,
           Axes dilation, Axes before, const std::string& target, bool twice, bool forced,
           const std::array<double, 8>& r) {
            const Problem p{
                .batch = batch,
                .groups = groups,
                .small = small,
                .big = big,
                .input = input,
                .output = output,
                .kernel = kernel,
                .strides = strides,
                .dilation = dilation,
                .before = before,
            };
            const Rates rates{
                .multiply_adds = r[0],
                .loads = r[1],
                .second = r[2],
                .third = r[3],
                .memory = r[4],
                .first_size = r[5],
                .second_size = r[6],
                .third_size = r[7],
            };
            return twice ? predicted<double>(p, target, forced, rates) : predicted<float>(p, target, forced, rates);
        },
        "batch"_a, "groups"_a, "small"_a, "big"_a, "input"_a, "output"_a, "kernel"_a, "strides"_a, "dilation"_a,
        "before"_a, "target"_a, "twice"_a, "forced"_a, "rates"_a);
    module.def(
        "same_bytes",
        [](nb::ndarray<nb::c_contig, nb::device::cpu, nb::ro> a, nb::ndarray<nb::c_contig, nb::device::cpu, nb::ro> b) {
            return a.nbytes() == b.nbytes() &&
                   same_bytes(static_cast<const char*>(a.data()), static_cast<const char*>(b.data()), a.nbytes());
        },
        "a"_a.noconvert(), "b"_a.noconvert());
    module.def("axis_convolution", axis_convolution, "weights"_a, "source"_a.noconvert(), "source_first"_a,
               "target"_a.noconvert(), "target_first"_a, "offset"_a.noconvert(), "input"_a.noconvert(),
               "output"_a.noconvert(), "before"_a, "count"_a, "dilation"_a, "taps"_a, "plane"_a, "target_plane"_a,
               "crop"_a, "strip"_a, "name"_a);
    nb::class_<Copy>(module, "Copy")
        .def(nb::init<std::uintptr_t, std::size_t>(), "address"_a, "bytes"_a)
        .def("stayed", &Copy::stayed);
    nb::class_<Pages>(module, "Pages")
        .def_static("of", &Pages::of, "address"_a, "bytes"_a)
        .def("stayed", &Pages::stayed);
    module.def("release_results", release_results);
    module.def("set_num_threads", set_num_threads, "count"_a);
    module.def("get_num_threads", get_num_threads);
    module.def(
        "share_threads",
        [](std::uintptr_t run, std::uintptr_t most) {
            share_threads({.run = reinterpret_cast<decltype(Team::run)>(run),
                           .most = reinterpret_cast<decltype(Team::most)>(most)});
        },
        "run"_a, "most"_a);
    module.def(
        "conv_kernel_gradient_half",
        [](Strided<const Half> x, Strided<const Half> y, Array<float> w, const std::string& name, bool channels_first,
           Axes strides, Axes dilation, Axes before, Index groups, bool winograd, int storage) {
            kernel_gradient<float, Half>(x, y, w, name, channels_first, strides, dilation, before, groups, winograd,
                                         storage_of(storage));
        },
        "x"_a.noconvert(), "y"_a.noconvert(), "w"_a.noconvert(), "name"_a, "channels_first"_a, "strides"_a,
        "dilation"_a, "before"_a, "groups"_a, "winograd"_a, "storage"_a);
    module.def("to_columns", to_columns<float>, "y"_a.noconvert(), "columns"_a.noconvert(), "sizes"_a, "last"_a);
    module.def("to_columns", to_columns<Half>, "y"_a.noconvert(), "columns"_a.noconvert(), "sizes"_a, "last"_a);
    module.def("from_columns", from_columns, "columns"_a.noconvert(), "bias"_a.none().noconvert(), "y"_a.noconvert(),
               "sizes"_a, "last"_a);
    module.def(
        "narrow",
        [](nb::ndarray<const float, nb::c_contig, nb::device::cpu> from,
           nb::ndarray<Half, nb::c_contig, nb::device::cpu> to, const std::string& name, int storage) {
            const Storage stored = storage_of(storage);
            require_size(to.size(), static_cast<Index>(from.size()));
            const Kernels<float>& kernels = kernels_of<float>(name);
            unlocked([&] { narrow_all(kernels, from.data(), static_cast<Index>(from.size()), to.data(), stored); });
        },
        "source"_a.noconvert(), "target"_a.noconvert(), "name"_a, "storage"_a);
    define<float>(module, "Weights32");
    define<double>(module, "Weights64");
}
