// Memory of large results. A fresh mapping costs a page fault for each 4 KiB, more than many a layer computes: what is
// given back is kept for the next result of a similar size, at most 256 MiB in all.
#pragma once

#include <cstddef>

#include "tuning.h"

namespace backstride {

using tuning::memory::least_kept;
using tuning::memory::most_kept;

void* take_result(std::size_t bytes);  // at least `least_kept` bytes; aligned to a cache line
void give_result(void* memory) noexcept;
std::size_t release_results() noexcept;  // frees what is kept; how many bytes that was

}  // namespace backstride
