// What is prepared once for a call, and rows of stacked cells that cannot be written in place: they
// are computed beside each other, (cells of the stack, channels), and copied to the cells that
// exist.
#include "dense_call.h"

#include <algorithm>

#include "tuning.h"

namespace backstride {

using namespace tuning::run;

template <typename Scalar>
DenseCall<Scalar>::DenseCall(const Problem& problem, const Kernels<Scalar>& kernels, const Side& side,
                             const std::vector<Sweep>& sweeps, const std::vector<Forms>& forms,
                             const Arrays<Scalar>& arrays, const Epilogue<Scalar>& epilogue)
    : problem(problem), kernels(kernels), side(side), sweeps(sweeps), forms(forms), source(arrays.source),
      target(arrays.target), activation(epilogue.activation), kernel(arrays.kernel),
      stride(padded(side.columns, kernels.lanes)),
      bypasses(problem.batch * side.target[0] * side.target[1] * side.target[2] * side.target_channels *
                   static_cast<Index>(sizeof(Scalar)) >=
               least_bypass),
      zeros(static_cast<std::size_t>(side.source_channels + side.depth + 1), Scalar(0)) {
    if (epilogue.bias) {
        bias.assign(static_cast<std::size_t>(stride * side.groups), Scalar(0));
        for (Index g = 0; g < side.groups; ++g)
            for (Index column = 0; column < side.columns; column += side.channels)
                std::copy_n(epilogue.bias + g * side.channels, side.channels, bias.data() + g * stride + column);
    }
    const Scalar* packed = arrays.packed;
    for (std::size_t n = 0; n < sweeps.size(); ++n) {
        weights.push_back(packed);
        packed += packed_size(side, sweeps[n], forms[n], kernels.lanes);
    }
    prefetches_weights = (packed - arrays.packed) * static_cast<Index>(sizeof(Scalar)) > weights_near;
}

template <typename Scalar>
Scalar* DenseCall<Scalar>::aim(Index image, Index t0, Index t1, Index t2, Scalar* beside,
                               std::vector<Spill<Scalar>>& spills) const {
    const auto [s0, s1, s2] = side.stack;
    if (s0 * s1 == 1 && (s2 == 1 || (t2 >= 0 && t2 + s2 <= side.target[2]))) {
        const Index line = ((image * side.target[0] + t0) * side.target[1] + t1) * side.target[2];
        return target + (line + t2) * side.target_channels;
    }
    spills.push_back({.row = beside, .image = image, .t0 = t0, .t1 = t1, .t2 = t2});
    return beside;
}

template <typename Scalar>
void DenseCall<Scalar>::scatter(const Spill<Scalar>& spill, Index from, Index to) const {
    const auto [s0, s1, s2] = side.stack;
    const Index low = std::max<Index>(0, -spill.t2), high = std::min(s2, side.target[2] - spill.t2);
    for (Index r0 = 0; r0 < s0; ++r0)
        for (Index r1 = 0; r1 < s1; ++r1) {
            const Index t0 = spill.t0 + r0, t1 = spill.t1 + r1;
            if (t0 < 0 || t0 >= side.target[0] || t1 < 0 || t1 >= side.target[1]) continue;
            const Index base = (r0 * s1 + r1) * s2 * side.channels;
            const Index first = std::max(base + low * side.channels, from);
            const Index last = std::min(base + high * side.channels, to);
            const Index line = ((spill.image * side.target[0] + t0) * side.target[1] + t1) * side.target[2];
            if (first < last)
                std::copy(spill.row + first, spill.row + last,
                          target + (line + spill.t2) * side.target_channels + (first - base));
        }
}

Index packed_size(const Side& side, const Sweep& sweep, const Forms& forms, Index lanes) {
    if (forms.tiled() && side.transforms_on_the_fly) return 0;
    const Index products = forms.tiled() ? Terms(sweep, most_tile_taps).count() * forms.planes() : sweep.taps();
    return products * side.depth * padded(side.columns, lanes) * side.groups;
}

template struct DenseCall<float>;
template struct DenseCall<double>;

}  // namespace backstride
