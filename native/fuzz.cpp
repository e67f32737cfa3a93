// Random problems through every instruction set of this processor, against the direct kernels, on integers so
// that equality is exact. Built with the sanitizers by `make sanitize`; usage: fuzz [problems] [seed].
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "dispatch.h"
#include "weights.h"
#include "threads.h"

using namespace backstride;

namespace {

class Draw {
public:
    explicit Draw(unsigned seed) : random_(seed) {}
    Index between(Index low, Index high) { return low + static_cast<Index>(random_() % static_cast<unsigned long>(high - low + 1)); }
    bool one_in(Index count) { return between(1, count) == 1; }

    template <typename Scalar>
    std::vector<Scalar> numbers(Index count) {
        std::vector<Scalar> result(static_cast<std::size_t>(count));
        for (Scalar& value : result) value = static_cast<Scalar>(between(-4, 4));
        return result;
    }

    Problem problem() {
        Problem p{};
        p.batch = between(0, 8);
        p.groups = between(1, 3);
        p.small = one_in(3) ? 1 : between(1, 40);
        p.big = one_in(3) ? between(1, 4) : between(1, 70);
        if (one_in(6)) p.groups = between(1, 70), p.small = p.big = 1;
        // Many taps and inputs, for products that are cut into pieces and gradients that gather cells.
        const bool many = one_in(8);
        if (many) p.batch = between(1, 4), p.small = between(30, 200), p.big = between(1, 9), p.groups = between(1, 2);
        for (std::size_t axis = 0; axis < 3; ++axis) {
            p.input[axis] = between(1, axis == 0 ? 2 : 5);
            p.kernel[axis] = between(1, axis == 0 ? 2 : many && axis == 2 ? 90 : 5);
            p.strides[axis] = between(1, 4);
            p.dilation[axis] = between(1, 3);
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
    const Epilogue<Scalar> plain{nullptr, Activation::none};
    std::vector<Scalar> up(y.size()), fast_up(y.size()), down(x.size()), fast_down(x.size());
    std::vector<Scalar> gradient(w.size()), fast_gradient(w.size());
    Algorithm algorithm = static_cast<Algorithm>(draw.between(0, 4));
    if (algorithm == Algorithm::overlap && p.groups > 1) algorithm = Algorithm::automatic;
    // Channels last, or channels first, which is the same numbers in another order.
    const bool first = draw.one_in(2);
    const auto view = [&](auto* data, const Axes& size, Index channels) {
        auto result = dense(data, size, channels);
        if (first) result.channel = cells(size), result.plane = size[1] * size[2], result.line = size[2], result.cell = 1;
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
    const Weights<Scalar> forward(p, kernels, true, {algorithm, draw.one_in(2)}, w.data());
    forward.run(p, view(mine.data(), p.input, inputs), plain, view(fast_up.data(), p.output, outputs));
    direct_conv(p, y.data(), w.data(), down.data());
    const Choice choice{draw.one_in(2) ? Algorithm::winograd : Algorithm::automatic, draw.one_in(2)};
    const Weights<Scalar> backward(p, kernels, false, choice, w.data(), draw.one_in(2));
    backward.run(p, view(theirs.data(), p.output, outputs), plain, view(fast_down.data(), p.input, inputs));
    fast_up = ordered(fast_up, p.output, outputs, true);
    fast_down = ordered(fast_down, p.input, inputs, true);
    direct_conv_kernel_gradient(p, x.data(), y.data(), gradient.data());
    correlate_kernel_gradient(p, kernels, x.data(), y.data(), fast_gradient.data(), draw.one_in(2) ? Tiling::always : Tiling::automatic);
    const std::string name = "conv_transpose by algorithm " + std::to_string(static_cast<int>(algorithm));
    return agree(name.c_str(), up, fast_up) && agree("conv", down, fast_down) &&
           agree("conv_kernel_gradient", gradient, fast_gradient);
}

}  // namespace

int main(int count, char** words) {
    const long problems = count > 1 ? std::atol(words[1]) : 2000;
    Draw draw(count > 2 ? static_cast<unsigned>(std::atol(words[2])) : 0u);
    set_num_threads(2);
    for (long problem = 0; problem < problems; ++problem)
        for (const std::string& name : instruction_sets())
            if (!holds(draw, kernels_of<float>(name)) || !holds(draw, kernels_of<double>(name))) {
                std::printf("%s, problem %ld\n", name.c_str(), problem);
                return 1;
            }
    std::printf("%ld problems agree on every instruction set, float and double\n", problems);
    return 0;
}
