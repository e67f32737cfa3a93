// Columns of a matrix product, for one group: what a product with a weight as it lies reads or
// gives in the place of y. columns (batch*cells of x, row), a row of all taps and channels of y,
// (big, *kernel), or with `last` (*kernel, big); y in the same order of channels, (batch, big,
// *output) or (batch, *output, big).
//
// Sums are taken by rising cells and taps, in one order for any number of threads.
#pragma once

#include "direct.h"

namespace backstride {

// Rows from y; zeros where a tap leads outside.
template <typename Number>
void lay_columns(const Problem& problem, const Number* y, Number* columns, bool last);

// y from rows: the sums of what meets in a cell, on top of a bias, if there is one.
void sum_columns(const Problem& problem, const float* columns, const float* bias, float* y, bool last);

}  // namespace backstride
