// What a product with a weight as it lies reads or gives in the place of y: a row for each cell of x, of all taps and channels
// of y (big, *kernel), or with `last` (*kernel, big). y lies in the same order of channels, (batch, big, *output) or
// (batch, *output, big). One group.
#pragma once

#include "direct.h"

namespace backstride {

// Rows from y; zeros where a tap leads outside.
template <typename Number>
void lay_columns(const Problem& problem, const Number* y, Number* columns, bool last);

// y from rows: the sums of what meets in a cell, on top of a bias, if there is one.
void sum_columns(const Problem& problem, const float* columns, const float* bias, float* y, bool last);

}  // namespace backstride
