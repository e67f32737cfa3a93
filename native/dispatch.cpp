// Each target file defines its tables in a namespace of its own; here they are listed, best first,
// each with the test of the processor's features.
#include "dispatch.h"

#include <stdexcept>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace backstride {

#define BACKSTRIDE_DECLARE(name)                   \
    namespace name {                               \
    extern const Kernels<float> single_precision;  \
    extern const Kernels<double> double_precision; \
    }
#if defined(__x86_64__)
BACKSTRIDE_DECLARE(avx512)
BACKSTRIDE_DECLARE(avx2)
namespace avx512bf16 {
extern void (*const multiply_row_pairs)(const Block<float>&);
}
#ifdef BACKSTRIDE_AMX
namespace amx {
extern const MultiplyMatrices multiply_matrices;
}
#endif
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
    {
        .name = "avx512",
        .runs_here =
            [] {
                return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("fma");
            },
        .single_precision = &avx512::single_precision,
        .double_precision = &avx512::double_precision,
    },
    {
        .name = "avx2",
        .runs_here = [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
        .single_precision = &avx2::single_precision,
        .double_precision = &avx2::double_precision,
    },
#endif
    {
#if defined(__aarch64__)
        .name = "neon",
#else
        .name = "baseline",
#endif
        .runs_here = [] { return true; },
        .single_precision = &baseline::single_precision,
        .double_precision = &baseline::double_precision,
    },
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
        changed.multiply_rows = avx512bf16::multiply_row_pairs;
        return changed;
    }();
    static const bool here = __builtin_cpu_supports("avx512bf16");
    return here && &kernels == &avx512::single_precision ? &pairs : nullptr;
#else
    (void)kernels;
    return nullptr;
#endif
}

// The system saves these registers for processes that asked for it once, and refuses where the stacks of signals'
// handlers are too small for them.
bool may_use_matrices() {
#if defined(__x86_64__) && defined(__linux__)
    constexpr int request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return granted;
#else
    return false;
#endif
}

MultiplyMatrices matrices_of(const Kernels<float>& kernels) {
#ifdef BACKSTRIDE_AMX
    static const bool here = [] {
        constexpr unsigned tiles = 1u << 24, brain_products = 1u << 22;
        unsigned a, b, c, d;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & tiles && d & brain_products && may_use_matrices();
    }();
    return here && pairs_of(kernels) ? amx::multiply_matrices : nullptr;
#else
    (void)kernels;
    return nullptr;
#endif
}

}  // namespace backstride
