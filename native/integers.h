// Integers of sizes and places, and their division: upwards, to multiples, and downwards.
#pragma once

#include <cstddef>

namespace backstride {

using Index = std::ptrdiff_t;

// The quotient of a >= 0 by b > 0, rounded up.
constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

// The least multiple of `step` that is not below `count`.
constexpr Index padded(Index count, Index step) { return ceil_div(count, step) * step; }

// The remainder of any a by b > 0 that is not negative, and the quotient rounded down.
constexpr Index modulo(Index a, Index b) { return ((a % b) + b) % b; }
constexpr Index floor_div(Index a, Index b) { return (a - modulo(a, b)) / b; }

}  // namespace backstride
