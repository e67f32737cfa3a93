// The kernels of every instruction set that this build has, best first, and whether this processor
// runs them. Nothing is chosen here but by name.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"
#include "matrices.h"

namespace backstride {

// The names of the instruction sets that were compiled in and that this processor has, best first.
std::vector<std::string> instruction_sets();

// The kernels of a compiled instruction set; throws std::invalid_argument for an unknown name.
template <typename Scalar>
const Kernels<Scalar>& kernels_of(const std::string& name);

// Those whose plain products take a pair of bfloat16 in the place of each number, and sum in float; null where this
// processor has none for these.
const Kernels<float>* pairs_of(const Kernels<float>& kernels);

// Products in matrix registers for those that have pairs; null where the processor has none, or the system keeps them
// to itself.
MultiplyMatrices matrices_of(const Kernels<float>& kernels);

// Whether the system keeps matrix registers for this process: Linux does where it is asked, others are not.
bool may_use_matrices();

}  // namespace backstride
