// The kernels of every instruction set that this build has, best first, and whether this processor runs them.
#pragma once

#include <string>
#include <vector>

#include "tiles.h"

namespace backstride {

// The names of the instruction sets that were compiled in and that this processor has, best first.
std::vector<std::string> instruction_sets();

// The kernels of a compiled instruction set; throws std::invalid_argument for an unknown name.
template <typename Scalar>
const Kernels<Scalar>& kernels_of(const std::string& name);

// Those whose plain products take a pair of bfloat16 in the place of each number, and sum in float; null where this
// processor has none for these.
const Kernels<float>* pairs_of(const Kernels<float>& kernels);

}  // namespace backstride
