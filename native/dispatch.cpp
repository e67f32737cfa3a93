#include "dispatch.h"

#include <stdexcept>

namespace backstride {

#define BACKSTRIDE_DECLARE(name)                  \
    namespace name {                              \
    extern const Kernels<float> single_precision; \
    extern const Kernels<double> double_precision; \
    }
#if defined(__x86_64__)
BACKSTRIDE_DECLARE(avx512)
BACKSTRIDE_DECLARE(avx2)
namespace avx512bf16 {
extern void (*const gather_pairs)(const Block<float>&);
}
#endif
BACKSTRIDE_DECLARE(baseline)
#undef BACKSTRIDE_DECLARE

namespace {

struct Target {
    const char* name;
    bool (*runs_here)();
    const Kernels<float>* single_precision;
    const Kernels<double>* double_precision;
};

const Target targets[] = {
#if defined(__x86_64__)
    {"avx512",
     [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("fma");
     },
     &avx512::single_precision, &avx512::double_precision},
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
     &avx2::single_precision, &avx2::double_precision},
#endif
#if defined(__aarch64__)
    {"neon",
#else
    {"baseline",
#endif
     [] { return true; }, &baseline::single_precision, &baseline::double_precision},
};

const Target& target_of(const std::string& name) {
    for (const Target& target : targets)
        if (name == target.name) return target;
    throw std::invalid_argument("no such instruction set: " + name);
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Target& target : targets)
        if (target.runs_here()) names.emplace_back(target.name);
    return names;
}

template <>
const Kernels<float>& kernels_of<float>(const std::string& name) {
    return *target_of(name).single_precision;
}

template <>
const Kernels<double>& kernels_of<double>(const std::string& name) {
    return *target_of(name).double_precision;
}

const Kernels<float>* pairs_of(const Kernels<float>& kernels) {
#if defined(__x86_64__)
    static const Kernels<float> pairs = [] {
        Kernels<float> changed = avx512::single_precision;
        changed.gather = avx512bf16::gather_pairs;
        return changed;
    }();
    static const bool here = __builtin_cpu_supports("avx512bf16");
    return here && &kernels == &avx512::single_precision ? &pairs : nullptr;
#else
    (void)kernels;
    return nullptr;
#endif
}

}  // namespace backstride
