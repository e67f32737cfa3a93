// What the processor is and does: the features that it names, and a short measurement of its clock, its multiply-adds
// and the rates of its caches. Nothing that computes a result reads any of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernels.h"

namespace backstride {

// The instruction sets of interest that processor and operating system offer: on x86-64 by the names of Linux.
std::vector<std::string> processor_features();

// Numbers of float32 in a vector of a compiled instruction set, and how many vector registers it has; throws
// std::invalid_argument for an unknown name.
std::pair<Index, Index> vectors_of(const std::string& instruction_set);

struct Measured {
    double hertz, multiply_adds;  // of a vector, a second
    std::vector<std::pair<double, double>>
        rates;                         // bytes a second, of a read and of a copy: read and written bytes together
    std::pair<double, double> memory;  // the same behind all caches; zero where lines cannot be flushed
};

// One thread, for about `seconds`; each measurement is made once at least, and its pieces are small. Working sets are
// in bytes.
Measured measure(const std::string& instruction_set, const std::vector<Index>& working_sets, double seconds);

}  // namespace backstride
