// Random problems through every instruction set of this processor, against the direct kernels: on
// integers, so that equality is exact, and in half precision, where the distance from sums in double
// is bounded. `make sanitize` builds it with the sanitizers. With `bits`, numbers are fractions, whose
// sums differ in their last bits with the order of terms, and a hash of all results is printed for each
// instruction set: `make bits`. Usage: fuzz [problems] [seed] [bits].
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "axis_tiles.h"
#include "boxes.h"
#include "columns.h"
#include "dispatch.h"
#include "threads.h"
#include "weights.h"

using namespace backstride;

namespace {

// Whether results are hashed, not compared; the hash (64-bit FNV-1a) of those of the instruction set
// that runs.
bool hashes = false;
std::uint64_t* hash = nullptr;

template <typename Scalar>
void add_to_hash(const std::vector<Scalar>& numbers) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    for (std::size_t n = 0; n < numbers.size() * sizeof(Scalar); ++n) *hash = (*hash ^ bytes[n]) * 0x100000001b3u;
}

class Draw {
public:
    explicit Draw(unsigned seed) : random_(seed) {}
    Index between(Index low, Index high) {
        return low + static_cast<Index>(random_() % static_cast<unsigned long>(high - low + 1));
    }
    bool one_in(Index count) { return between(1, count) == 1; }

    template <typename Scalar>
    std::vector<Scalar> numbers(Index count) {
        std::vector<Scalar> result(static_cast<std::size_t>(count));
        const Index most = Index(1) << 20;
        for (Scalar& value : result)
            value = hashes ? static_cast<Scalar>(std::ldexp(static_cast<double>(between(-most, most)), -18))
                           : static_cast<Scalar>(between(-4, 4));
        return result;
    }

    Problem problem() {
        Problem p{};
        p.batch = between(0, 8);
        p.groups = between(1, 3);
        p.small = one_in(3) ? 1 : between(1, 40);
        p.big = one_in(3) ? between(1, 4) : between(1, 70);
        const bool depthwise = one_in(6), wide = depthwise && one_in(2);
        if (depthwise) p.groups = between(1, wide ? 4 : 70), p.small = p.big = 1;
        if (wide) p.batch = 1;
        // Many taps and inputs, for products that are cut into pieces and gradients that gather cells.
        const bool many = one_in(8);
        if (many) p.batch = between(1, 4), p.small = between(30, 200), p.big = between(1, 9), p.groups = between(1, 2);
        // Few output channels, lines of all lengths, those of several images beside each other.
        const bool few = one_in(4);
        if (few) p.batch = between(1, 12), p.small = between(1, 20), p.big = between(1, 3), p.groups = 1;
        // Lines whose phases share the cells of Winograd tiles, some with weights that no near cache holds.
        const bool line = !depthwise && !many && !few && one_in(4);
        if (line) p.groups = 1, p.small = between(24, 60), p.big = between(24, 70), p.batch = between(1, 3);
        if (line && one_in(8)) p.small = between(200, 400), p.big = between(64, 128), p.batch = 1;
        const Index longest = !few ? 5 : one_in(2) ? 20 : one_in(4) ? 100 : 9;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            p.input[axis] = between(1, axis == 0 ? 2 : wide && axis == 2 ? 90 : wide ? 12 : few ? 8 : 5);
            if (axis == 2 && few) p.input[axis] = between(1, longest);
            p.kernel[axis] = between(1, axis == 0 ? 2 : many && axis == 2 ? 90 : 5);
            p.strides[axis] = depthwise && one_in(9) ? 8 : between(1, 4);
            p.dilation[axis] = between(1, 3);
            if (line && axis < 2) p.kernel[axis] = p.strides[axis] = 1;
            if (line && axis == 2)
                p.input[axis] = between(1, 40), p.kernel[axis] = p.strides[axis] * between(1, 4), p.dilation[axis] = 1;
            const Index full = (p.input[axis] - 1) * p.strides[axis] + p.dilation[axis] * (p.kernel[axis] - 1) + 1;
            p.before[axis] = many ? between(-1, 1) : between(-3, full - 1);
            p.output[axis] = std::max<Index>(1, full - p.before[axis] - between(-3, many ? 0 : 3));
        }
        return p;
    }

private:
    std::mt19937 random_;
};

template <typename Scalar>
bool agree(const char* what, const std::vector<Scalar>& expected, const std::vector<Scalar>& found) {
    if (hashes) {
        add_to_hash(found);
        return true;
    }
    const bool equal = expected == found;
    if (!equal) std::printf("%s differs\n", what);
    return equal;
}

template <typename Scalar>
bool holds(Draw& draw, const Kernels<Scalar>& kernels) {
    const Problem p = draw.problem();
    const Index small = p.batch * cells(p.input) * p.groups * p.small;
    const Index large = p.batch * cells(p.output) * p.groups * p.big;
    const auto x = draw.numbers<Scalar>(small), y = draw.numbers<Scalar>(large);
    const auto w = draw.numbers<Scalar>(cells(p.kernel) * p.big * p.groups * p.small);
    // Bias and activation go into hashes: the direct kernels have none.
    const auto small_bias = draw.numbers<Scalar>(hashes ? p.groups * p.small : 0);
    const auto large_bias = draw.numbers<Scalar>(hashes ? p.groups * p.big : 0);
    const auto last = static_cast<Index>(Activation::silu);
    const auto activation = hashes ? static_cast<Activation>(draw.between(0, last)) : Activation::none;
    const Epilogue<Scalar> small_end{.bias = hashes ? small_bias.data() : nullptr, .activation = activation};
    const Epilogue<Scalar> large_end{.bias = hashes ? large_bias.data() : nullptr, .activation = activation};
    std::vector<Scalar> up(y.size()), fast_up(y.size()), down(x.size()), fast_down(x.size());
    std::vector<Scalar> gradient(w.size()), fast_gradient(w.size());
    Algorithm algorithm =
        p.groups == 1 && p.big <= 4 && draw.one_in(2) ? Algorithm::overlap : static_cast<Algorithm>(draw.between(0, 4));
    if (algorithm == Algorithm::overlap && p.groups > 1) algorithm = Algorithm::automatic;
    // Channels last, or channels first, which is the same numbers in another order.
    const bool first = draw.one_in(2);
    const auto view = [&](auto* data, const Axes& size, Index channels) {
        auto result = dense(data, size, channels);
        if (first)
            result.channel = cells(size), result.plane = size[1] * size[2], result.line = size[2], result.cell = 1;
        return result;
    };
    const auto ordered = [&](const std::vector<Scalar>& numbers, const Axes& size, Index channels, bool back) {
        std::vector<Scalar> result(numbers.size());
        for (Index at = 0; at < static_cast<Index>(numbers.size()); ++at) {
            const Index image = at / (cells(size) * channels), cell = at / channels % cells(size), c = at % channels;
            const Index other = first ? (image * channels + c) * cells(size) + cell : at;
            result[static_cast<std::size_t>(back ? at : other)] = numbers[static_cast<std::size_t>(back ? other : at)];
        }
        return result;
    };
    const Index inputs = p.groups * p.small, outputs = p.groups * p.big;
    const auto mine = ordered(x, p.input, inputs, false), theirs = ordered(y, p.output, outputs, false);
    direct_conv_transpose(p, x.data(), w.data(), up.data());
    const bool winograd = draw.one_in(2), borrows = draw.one_in(2);
    const Weights<Scalar> forward(p, kernels, true, {.algorithm = algorithm, .winograd = winograd}, w.data(), borrows);
    forward.run(p, view(mine.data(), p.input, inputs), large_end, view(fast_up.data(), p.output, outputs));
    direct_conv(p, y.data(), w.data(), down.data());
    const Choice downwards{
        .algorithm = draw.one_in(2) ? Algorithm::winograd : Algorithm::automatic,
        .winograd = draw.one_in(2),
    };
    const Weights<Scalar> backward(p, kernels, false, downwards, w.data(), draw.one_in(2));
    backward.run(p, view(theirs.data(), p.output, outputs), small_end, view(fast_down.data(), p.input, inputs));
    fast_up = ordered(fast_up, p.output, outputs, true);
    fast_down = ordered(fast_down, p.input, inputs, true);
    direct_conv_kernel_gradient(p, x.data(), y.data(), gradient.data());
    correlate_kernel_gradient(p, kernels, x.data(), y.data(), fast_gradient.data(),
                              draw.one_in(2) ? GradientChoice::tiles : GradientChoice::automatic);
    const std::string name = "conv_transpose by algorithm " + std::to_string(static_cast<int>(algorithm));
    return agree(name.c_str(), up, fast_up) && agree("conv", down, fast_down) &&
           agree("conv_kernel_gradient", gradient, fast_gradient);
}

// A side of a call in half precision, or a kernel: the numbers, their bits in the order of a view, and the view.
struct Side16 {
    std::vector<double> exact;
    std::vector<Half> bits{};
    View<Half> view{};
};

// Numbers that both formats hold: integers, whose sums are exact, or of some magnitudes.
std::vector<double> drawn(Draw& draw, Index count, bool integers) {
    std::vector<double> result(static_cast<std::size_t>(count));
    for (double& value : result) value = static_cast<double>(integers ? draw.between(-4, 4) : draw.between(-255, 255));
    if (!integers)
        for (double& value : result) value = std::ldexp(value, -static_cast<int>(draw.between(6, 10)));
    return result;
}

Side16 side16(const Kernels<float>& kernels, std::vector<double> exact, const Axes& size, Index channels, bool first,
              Storage storage) {
    Side16 side{.exact = std::move(exact)};
    side.bits.resize(side.exact.size());
    std::vector<float> ordered(side.exact.size());
    for (Index at = 0; at < static_cast<Index>(ordered.size()); ++at) {
        const Index image = at / (cells(size) * channels), cell = at / channels % cells(size), c = at % channels;
        ordered[static_cast<std::size_t>(first ? (image * channels + c) * cells(size) + cell : at)] =
            static_cast<float>(side.exact[static_cast<std::size_t>(at)]);
    }
    kernels.narrow(ordered.data(), static_cast<Index>(ordered.size()), side.bits.data(), storage);
    side.view = dense(side.bits.data(), size, channels);
    if (first)
        side.view.channel = cells(size), side.view.plane = size[1] * size[2], side.view.line = size[2],
        side.view.cell = 1;
    return side;
}

View<const Half> reading(const View<Half>& view) {
    return {
        .data = view.data,
        .image = view.image,
        .plane = view.plane,
        .line = view.line,
        .cell = view.cell,
        .channel = view.channel,
    };
}

// Half precision is single precision rounded once. So a result is within half a unit of its last place of a sum in
// float, and that within (terms + 8) roundings of a sum of magnitudes. Winograd's transforms make at most 16 times as
// many, and add and subtract numbers of neighbouring cells: the largest product. Integers are exact in float.
bool near16(const char* what, const Kernels<float>& kernels, Storage storage, const std::vector<double>& exact,
            const std::vector<double>& magnitudes, double largest, double terms, bool integers,
            const std::vector<Half>& bits, const std::vector<std::size_t>& places) {
    if (hashes) add_to_hash(bits);
    const bool brain = storage == Storage::bfloat16;
    const double unit = std::ldexp(1.0, brain ? -8 : -11), least = std::ldexp(1.0, brain ? -134 : -25);
    std::vector<float> found(bits.size());
    kernels.widen(bits.data(), static_cast<Index>(bits.size()), found.data(), storage);
    for (std::size_t at = 0; at < exact.size(); ++at) {
        const double slack = integers ? 0 : 16 * (terms + 8) * std::ldexp(1.0, -24) * (magnitudes[at] + largest);
        const double value = static_cast<double>(found[places[at]]);
        if (std::abs(value - exact[at]) <= unit * (std::abs(exact[at]) + slack) + slack + least) continue;
        std::printf("%s in %s: %g for %g\n", what, brain ? "bfloat16" : "float16", value, exact[at]);
        return false;
    }
    return true;
}

std::vector<double> magnitudes_of(std::vector<double> numbers) {
    for (double& value : numbers) value = std::abs(value);
    return numbers;
}

bool holds_half(Draw& draw, const Kernels<float>& kernels) {
    const Problem p = draw.problem();
    const Storage storage = draw.one_in(2) ? Storage::bfloat16 : Storage::float16;
    const bool integers = draw.one_in(2), first = draw.one_in(2);
    const Index inputs = p.groups * p.small, outputs = p.groups * p.big, taps = cells(p.kernel);
    const Side16 x =
        side16(kernels, drawn(draw, p.batch * cells(p.input) * inputs, integers), p.input, inputs, first, storage);
    const Side16 y =
        side16(kernels, drawn(draw, p.batch * cells(p.output) * outputs, integers), p.output, outputs, first, storage);
    const auto w = drawn(draw, taps * p.big * inputs, integers);
    const std::vector<float> kernel(w.begin(), w.end());
    const auto ax = magnitudes_of(x.exact), ay = magnitudes_of(y.exact), aw = magnitudes_of(w);
    const auto places = [&](const Axes& size, Index channels, std::size_t count) {
        std::vector<std::size_t> result(count);
        for (Index at = 0; at < static_cast<Index>(count); ++at) {
            const Index image = at / (cells(size) * channels), cell = at / channels % cells(size), c = at % channels;
            result[static_cast<std::size_t>(at)] =
                static_cast<std::size_t>(first ? (image * channels + c) * cells(size) + cell : at);
        }
        return result;
    };
    const Epilogue<float> plain{.bias = nullptr, .activation = Activation::none};
    std::vector<double> exact, sums;
    const auto fresh = [&](std::size_t count) { exact.assign(count, 0), sums.assign(count, 0); };
    const auto most = [](const std::vector<double>& numbers) {
        return numbers.empty() ? 0 : *std::max_element(numbers.begin(), numbers.end());
    };
    const auto terms = [&](Index channels) { return static_cast<double>(taps * channels); };

    Side16 up = side16(kernels, std::vector<double>(y.exact.size()), p.output, outputs, first, storage);
    fresh(y.exact.size());
    direct_conv_transpose(p, x.exact.data(), w.data(), exact.data());
    direct_conv_transpose(p, ax.data(), aw.data(), sums.data());
    const bool winograd = draw.one_in(2), borrows = draw.one_in(2);
    const Weights<float> forward(p, kernels, true, {.winograd = winograd}, kernel.data(), borrows);
    forward.run(p, reading(x.view), plain, up.view, storage);
    if (!near16("conv_transpose", kernels, storage, exact, sums, most(ax) * most(aw), terms(p.small), integers, up.bits,
                places(p.output, outputs, exact.size())))
        return false;

    Side16 down = side16(kernels, std::vector<double>(x.exact.size()), p.input, inputs, first, storage);
    fresh(x.exact.size());
    direct_conv(p, y.exact.data(), w.data(), exact.data());
    direct_conv(p, ay.data(), aw.data(), sums.data());
    const Weights<float> backward(p, kernels, false, {.winograd = draw.one_in(2)}, kernel.data(), true);
    backward.run(p, reading(y.view), plain, down.view, storage);
    if (!near16("conv", kernels, storage, exact, sums, most(ay) * most(aw), terms(p.big), integers, down.bits,
                places(p.input, inputs, exact.size())))
        return false;

    fresh(w.size());
    direct_conv_kernel_gradient(p, x.exact.data(), y.exact.data(), exact.data());
    direct_conv_kernel_gradient(p, ax.data(), ay.data(), sums.data());
    std::vector<float> gradient(w.size());
    std::vector<Half> rounded(w.size());
    const GradientChoice choice = static_cast<GradientChoice>(draw.between(0, 3));
    correlate_views(p, kernels, reading(x.view), reading(y.view), gradient.data(), choice, storage);
    narrow_all(kernels, gradient.data(), static_cast<Index>(gradient.size()), rounded.data(), storage);
    std::vector<std::size_t> same(w.size());
    for (std::size_t at = 0; at < same.size(); ++at) same[at] = at;
    const double cells_summed = static_cast<double>(p.batch * cells(p.input));
    return near16("conv_kernel_gradient", kernels, storage, exact, sums, most(ax) * most(ay), cells_summed, integers,
                  rounded, same);
}

// The three steps of a convolution by tiles along an axis, with matrices of small integers, number by number.
bool holds_axis(Draw& draw, const Kernels<float>& kernels) {
    const Index points = draw.between(6, 7), channels = draw.between(1, 40), outputs = draw.between(1, 40),
                batch = draw.between(1, 3);
    const bool planar = draw.one_in(3), from_first = draw.one_in(2), to_first = draw.one_in(2);
    const Index dilation = planar ? 1 : draw.between(1, 3), blocks = planar ? 1 : draw.between(1, 3);
    const Index length = draw.between(1, 60), before = draw.between(0, 5), count = draw.between(1, 70),
                tiles = ceil_div(count, 4 * dilation);
    const std::array<Index, 2> plane{draw.between(1, 4), draw.between(1, 4)},
        taps{draw.between(1, 3), draw.between(1, 3)};
    const Index own_taps = draw.between(1, 12);
    const std::array<Index, 2> crop{draw.between(0, taps[0] - 1), draw.between(0, taps[1] - 1)};
    const Index inner = planar ? plane[0] * plane[1] : 1;  // planes keep their size
    Problem p{
        .batch = batch,
        .groups = points,
        .small = channels,
        .big = outputs,
        .input = {},
        .output = {},
        .kernel = {},
        .strides = {1, 1, 1},
        .dilation = {1, 1, 1},
        .before = {},
    };
    const Index rows = tiles + blocks - 1;
    if (planar)
        p.kernel = {1, taps[0], taps[1]}, p.input = p.output = {1, plane[0], plane[1]},
        p.before = {0, crop[0], crop[1]};
    else if (dilation > 1)
        p.kernel = {1, blocks, 1}, p.input = {1, rows, dilation}, p.output = {1, tiles, dilation},
        p.before = {0, blocks - 1, 0};
    else p.kernel = {1, 1, blocks}, p.input = {1, 1, rows}, p.output = {1, 1, tiles}, p.before = {0, 0, blocks - 1};
    p.batch = planar ? tiles : 1;
    const auto x = draw.numbers<float>(batch * length * inner * channels),
               w = draw.numbers<float>(cells(p.kernel) * outputs * points * channels);
    auto input = draw.numbers<float>(points * points), output = draw.numbers<float>(4 * points);
    const auto offset = draw.numbers<float>(points * outputs);
    for (auto* matrix : {&input, &output})
        for (float& value : *matrix) value = std::trunc(value / 2);
    const Index distance = dilation * inner;
    std::vector<float> expected(static_cast<std::size_t>(batch * count * inner * outputs)), found(expected.size(), -1);
    for (Index n = 0; n < batch; ++n) {
        const auto place = [&](bool first, Index cell, Index cells, Index c, Index all) {
            return static_cast<std::size_t>(first ? (n * all + c) * cells + cell : (n * cells + cell) * all + c);
        };
        std::vector<float> data(static_cast<std::size_t>(rows * distance * points * channels)),
            products(static_cast<std::size_t>(tiles * distance * points * outputs));
        for (Index at = 0; at < static_cast<Index>(data.size()); ++at) {
            const Index c = at % channels, q = at / channels % points, j = at / channels / points % distance,
                        t = at / channels / points / distance;
            for (Index i = 0; i < points; ++i) {
                const Index cell = (t * 4 + i) * distance + j - before * inner;
                if (cell >= 0 && cell < length * inner)
                    data[static_cast<std::size_t>(at)] += input[static_cast<std::size_t>(q * points + i)] *
                                                          x[place(from_first, cell, length * inner, c, channels)];
            }
        }
        direct_conv_transpose(p, data.data(), w.data(), products.data());
        for (Index at = 0; at < static_cast<Index>(products.size()); ++at)
            products[static_cast<std::size_t>(at)] += offset[static_cast<std::size_t>(at % (points * outputs))];
        for (Index cell = 0; cell < count * inner; ++cell)
            for (Index c = 0; c < outputs; ++c)
                for (Index q = 0; q < points; ++q) {
                    const Index t = cell / (4 * distance), row = cell / distance % 4;
                    const Index at = cell / inner - before;
                    bool meets = false;
                    for (Index tap = 0; tap < own_taps; ++tap)
                        meets = meets || (at + tap * dilation >= 0 && at + tap * dilation < length);
                    expected[place(to_first, cell, count * inner, c, outputs)] +=
                        output[static_cast<std::size_t>(row * points + q)] *
                        (meets ? products[static_cast<std::size_t>(
                                     ((t * distance + cell % distance) * points + q) * outputs + c)]
                               : offset[static_cast<std::size_t>(q * outputs + c)]);
                }
    }
    const Weights<float> weights(p, kernels, true, {.winograd = draw.one_in(2)}, w.data());
    const std::array<Index, 2> none{0, 0};
    const AxisConvolution<float> job{
        .weights = weights,
        .offset = offset.data(),
        .input = input.data(),
        .output = output.data(),
        .batch = batch,
        .length = length,
        .before = before,
        .count = count,
        .dilation = dilation,
        .taps = own_taps,
        .plane = planar ? plane : none,
        .target_plane = planar ? plane : none,
        .crop = planar ? crop : none,
        .source = x.data(),
        .target = found.data(),
        .source_first = from_first,
        .target_first = to_first,
        .strip = draw.between(1, 3000),
    };
    return run_axis_convolution(job, kernels) && agree("convolution by tiles along an axis", expected, found);
}

// What columns hold, multiplied by the kernel, and what their sums give, in both orders of channels.
bool holds_columns(Draw& draw) {
    Problem p = draw.problem();
    p.groups = 1;
    const bool last = draw.one_in(2);
    const Index taps = cells(p.kernel), area = cells(p.output), rows = p.batch * cells(p.input), row = taps * p.big;
    const auto x = draw.numbers<float>(rows * p.small), y = draw.numbers<float>(p.batch * area * p.big),
               w = draw.numbers<float>(row * p.small), bias = draw.numbers<float>(p.big);
    // Where a tap's or a cell's channel stands among all.
    const auto place = [&](Index at, Index channel, Index all) {
        return static_cast<std::size_t>(last ? at * p.big + channel : channel * all + at);
    };
    const auto ordered = [&](const std::vector<float>& from, bool back) {
        std::vector<float> to(from.size());
        for (Index at = 0; at < static_cast<Index>(from.size()); ++at) {
            const Index channel = at % p.big, cell = at / p.big % area, image = at / p.big / area * area * p.big;
            const std::size_t here = static_cast<std::size_t>(at),
                              there = static_cast<std::size_t>(image) + place(cell, channel, area);
            to[back ? here : there] = from[back ? there : here];
        }
        return to;
    };
    std::vector<float> columns(static_cast<std::size_t>(rows * row)), found(x.size()), expected(x.size());
    lay_columns(p, ordered(y, false).data(), columns.data(), last);
    direct_conv(p, y.data(), w.data(), expected.data());
    for (Index at = 0; at < rows * p.small; ++at)
        for (Index k = 0; k < row; ++k)
            found[static_cast<std::size_t>(at)] +=
                columns[static_cast<std::size_t>(at / p.small * row) + place(k / p.big, k % p.big, taps)] *
                w[static_cast<std::size_t>(k * p.small + at % p.small)];
    if (!agree("columns of y", expected, found)) return false;
    for (Index at = 0; at < rows * row; ++at) {
        float sum = 0;
        const Index k = at % row;
        for (Index c = 0; c < p.small; ++c)
            sum += x[static_cast<std::size_t>(at / row * p.small + c)] * w[static_cast<std::size_t>(k * p.small + c)];
        columns[static_cast<std::size_t>(at / row * row) + place(k / p.big, k % p.big, taps)] = sum;
    }
    std::vector<float> image(y.size()), summed(y.size(), -1);
    direct_conv_transpose(p, x.data(), w.data(), image.data());
    const bool offset = draw.one_in(2);
    for (Index at = 0; offset && at < static_cast<Index>(image.size()); ++at)
        image[static_cast<std::size_t>(at)] += bias[static_cast<std::size_t>(at % p.big)];
    sum_columns(p, columns.data(), offset ? bias.data() : nullptr, summed.data(), last);
    return agree("sums of columns", image, ordered(summed, true));
}

}  // namespace

int main(int count, char** words) {
    const long problems = count > 1 ? std::atol(words[1]) : 2000;
    Draw draw(count > 2 ? static_cast<unsigned>(std::atol(words[2])) : 0u);
    hashes = count > 3 && std::string(words[3]) == "bits";
    std::map<std::string, std::uint64_t> results;
    const auto hash_of = [&](const std::string& name) {
        return &results.try_emplace(name, 0xcbf29ce484222325u).first->second;
    };
    set_num_threads(2);
    for (long problem = 0; problem < problems; ++problem) {
        hash = hash_of("columns");
        if (!holds_columns(draw)) {
            std::printf("problem %ld, columns\n", problem);
            return 1;
        }
        for (const std::string& name : instruction_sets()) {
            hash = hash_of(name);
            if (!holds(draw, kernels_of<float>(name)) || !holds(draw, kernels_of<double>(name)) ||
                !holds_half(draw, kernels_of<float>(name)) || !holds_axis(draw, kernels_of<float>(name))) {
                std::printf("%s, problem %ld\n", name.c_str(), problem);
                return 1;
            }
        }
    }
    for (const auto& [name, value] : results)
        if (hashes) std::printf("%s %016llx\n", name.c_str(), static_cast<unsigned long long>(value));
    if (hashes) return 0;
    std::printf("%ld problems agree on every instruction set, float, double and half precision\n", problems);
    return 0;
}
