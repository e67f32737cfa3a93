// Features by CPUID or the words that Linux gives a process; the measurement by the loops of
// probe.inl, once for each instruction set, quickest tries of many.
#include "probe.h"

#include "dispatch.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace backstride {
namespace {

struct Probe {
    Index lanes, registers;
    int chains;
    float (*multiply_add)(Index rounds, float seed);
    float (*read)(const float* from, Index count);
    void (*copy)(const float* from, Index count, float* to);
};

#define BACKSTRIDE_REGISTERS 32
#if defined(__x86_64__)
#define BACKSTRIDE_BYTES 64
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")
namespace avx512 {
#include "probe.inl"
}
#pragma GCC pop_options
#undef BACKSTRIDE_BYTES
#undef BACKSTRIDE_REGISTERS
#define BACKSTRIDE_BYTES 32
#define BACKSTRIDE_REGISTERS 16
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "probe.inl"
}
#pragma GCC pop_options
#undef BACKSTRIDE_BYTES
#elif !defined(__aarch64__)
#undef BACKSTRIDE_REGISTERS
#define BACKSTRIDE_REGISTERS 16
#endif
#define BACKSTRIDE_BYTES 16
namespace baseline {
#include "probe.inl"
}

const Probe& probe_of(const std::string& name) {
#if defined(__x86_64__)
    if (name == "avx512") return avx512::probe;
    if (name == "avx2") return avx2::probe;
#endif
    if (name == "baseline" || name == "neon") return baseline::probe;
    throw std::invalid_argument("no such instruction set: " + name);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Each addition waits for the one before: a cycle, on every processor there is.
[[gnu::noinline]] Index add_chain(Index count, Index step) {
    Index sum = 0;
    __asm__ volatile("" : "+r"(step));  // a constant might be added while registers are renamed
    for (Index n = 0; n < count; n += 16) {
#pragma GCC unroll 16
        for (int each = 0; each < 16; ++each) {
            sum += step;
            __asm__ volatile("" : "+r"(sum));
        }
    }
    return sum;
}

// Out of all caches.
#if defined(__x86_64__) || (defined(__aarch64__) && defined(__linux__))
constexpr bool flushes = true;
void flush(const char* from, Index bytes) {
    for (Index n = 0; n < bytes; n += 64) {
#if defined(__x86_64__)
        __builtin_ia32_clflush(from + n);
#else
        __asm__ volatile("dc civac, %0" ::"r"(from + n) : "memory");
#endif
    }
#if defined(__x86_64__)
    __builtin_ia32_mfence();
#else
    __asm__ volatile("dsb ish" ::: "memory");
#endif
}
#else
constexpr bool flushes = false;
void flush(const char*, Index) {}
#endif

volatile float sink;

// Something to time: seconds of the quickest try. What prepares it does not count.
struct Trial {
    std::function<void()> prepare, work;
    Index tries;  // in a round
    double seconds = std::numeric_limits<double>::infinity();
};

// Round after round, so that what else the processor does for a moment disturbs a try of each and not all of one. The
// first round is whole.
void race(std::vector<Trial>& trials, double seconds) {
    const double end = now() + seconds;
    for (bool first = true; first || now() < end; first = false)
        for (Trial& trial : trials)
            for (Index n = 0; n < trial.tries && (first || now() < end); ++n) {
                trial.prepare();
                const double start = now();
                trial.work();
                trial.seconds = std::min(trial.seconds, std::max(now() - start, 1e-9));
            }
}

struct Free {
    void operator()(float* memory) const { std::free(memory); }
};

constexpr Index least_bytes = 4096, most_bytes = Index(64) << 20, memory_bytes = Index(2) << 20;
constexpr Index bytes_of_try = Index(128) << 10, bytes_of_round = Index(4) << 20;

Index repeats_of(Index bytes, bool flushed) { return flushed ? 1 : std::max<Index>(1, bytes_of_try / bytes); }

// A read of a working set and a copy within it, which is both arrays of the copy.
void add_trials(std::vector<Trial>& trials, const Probe& probe, float* memory, Index bytes, bool flushed) {
    const Index count = bytes / static_cast<Index>(sizeof(float)), half = count / 2;
    const Index repeats = repeats_of(bytes, flushed), tries = std::max<Index>(1, bytes_of_round / bytes);
    const auto read = [&probe, memory, count](Index times) {
        for (Index n = 0; n < times; ++n) {
            sink = probe.read(memory, count);
            __asm__ volatile("" ::: "memory");
        }
    };
    const auto copy = [&probe, memory, half](Index times) {
        for (Index n = 0; n < times; ++n) probe.copy(memory, half, memory + half);
    };
    const auto away = [memory, bytes] { flush(reinterpret_cast<const char*>(memory), bytes); };
    const auto near = [read] { read(1); };
    const std::function<void()> prepare = flushed ? std::function<void()>(away) : std::function<void()>(near);
    const auto reads = [read, repeats] { read(repeats); };
    const auto copies = [copy, repeats] { copy(repeats); };
    trials.push_back({.prepare = prepare, .work = reads, .tries = tries});
    trials.push_back({.prepare = prepare, .work = copies, .tries = tries});
}

#if defined(__x86_64__)
// Registers whose state the operating system keeps: the XCR0 of XGETBV.
unsigned long long kept_states() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<unsigned long long>(high) << 32 | low;
}

// A feature is a bit of one of the four words that CPUID answers with, and the operating system has to
// keep the state of its registers.
enum Word : unsigned { eax, ebx, ecx, edx };
struct Feature {
    const char* name;
    unsigned leaf, subleaf = 0;
    Word word;
    unsigned bit;
    unsigned long long states;
};

constexpr unsigned long long avx = 0x6, zmm = 0xe6, tiles = 0x60000;
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID.
constexpr Feature features[] = {
    {.name = "fma", .leaf = 1, .word = ecx, .bit = 12, .states = avx},
    {.name = "f16c", .leaf = 1, .word = ecx, .bit = 29, .states = avx},
    {.name = "avx2", .leaf = 7, .word = ebx, .bit = 5, .states = avx},
    {.name = "avx_vnni", .leaf = 7, .subleaf = 1, .word = eax, .bit = 4, .states = avx},
    {.name = "avx512f", .leaf = 7, .word = ebx, .bit = 16, .states = zmm},
    {.name = "avx512dq", .leaf = 7, .word = ebx, .bit = 17, .states = zmm},
    {.name = "avx512bw", .leaf = 7, .word = ebx, .bit = 30, .states = zmm},
    {.name = "avx512vl", .leaf = 7, .word = ebx, .bit = 31, .states = zmm},
    {.name = "avx512_vnni", .leaf = 7, .word = ecx, .bit = 11, .states = zmm},
    {.name = "avx512_bf16", .leaf = 7, .subleaf = 1, .word = eax, .bit = 5, .states = zmm},
    {.name = "avx512_fp16", .leaf = 7, .word = edx, .bit = 23, .states = zmm},
    {.name = "amx_tile", .leaf = 7, .word = edx, .bit = 24, .states = tiles},
    {.name = "amx_bf16", .leaf = 7, .word = edx, .bit = 22, .states = tiles},
    {.name = "amx_int8", .leaf = 7, .word = edx, .bit = 25, .states = tiles},
};
#endif

}  // namespace

std::vector<std::string> processor_features() {
    std::vector<std::string> names;
#if defined(__x86_64__)
    const unsigned long long kept = kept_states();
    for (const Feature& feature : features) {
        unsigned words[4] = {};
        if (!__get_cpuid_count(feature.leaf, feature.subleaf, &words[0], &words[1], &words[2], &words[3])) continue;
        if (words[feature.word] >> feature.bit & 1 && (kept & feature.states) == feature.states &&
            (feature.states != tiles || may_use_matrices()))
            names.emplace_back(feature.name);
    }
#elif defined(__aarch64__)
    names.emplace_back("neon");
#if defined(__linux__)
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    const auto add = [&](const char* name, unsigned long word, int bit) {
        if (word >> bit & 1) names.emplace_back(name);
    };
    add("asimdhp", first, 10), add("asimddp", first, 20), add("sve", first, 22);
    add("sve2", second, 1), add("i8mm", second, 13), add("bf16", second, 14);
#endif
#endif
    return names;
}

std::pair<Index, Index> vectors_of(const std::string& instruction_set) {
    const Probe& probe = probe_of(instruction_set);
    return {probe.lanes, probe.registers};
}

Measured measure(const std::string& instruction_set, const std::vector<Index>& working_sets, double seconds) {
    const Probe& probe = probe_of(instruction_set);
    Index most = memory_bytes;
    for (const Index bytes : working_sets) {
        if (bytes < least_bytes || bytes % least_bytes || bytes > most_bytes)
            throw std::invalid_argument("working sets are 4 KiB to 64 MiB, by 4 KiB");
        most = std::max(most, bytes);
    }
    std::unique_ptr<float, Free> memory(
        static_cast<float*>(std::aligned_alloc(least_bytes, static_cast<std::size_t>(most))));
    if (!memory) throw std::bad_alloc();
    std::memset(memory.get(), 0, static_cast<std::size_t>(most));

    constexpr Index additions = 1 << 14, rounds = 1 << 10;
    const auto add = [] { sink = static_cast<float>(add_chain(additions, 1)); };
    const auto multiply_add = [&] { sink = probe.multiply_add(rounds, 1e-6f); };
    // Each after the other, for so long that the processor has settled on its clock for multiply-adds. A thread beside
    // this one on its core may disturb additions that follow upon those: others, which may run at a higher clock, bound
    // them.
    std::vector<Trial> trials{
        {.prepare = multiply_add, .work = add, .tries = 64},
        {.prepare = add, .work = multiply_add, .tries = 64},
        {.prepare = add, .work = add, .tries = 16},
    };
    for (const Index bytes : working_sets) add_trials(trials, probe, memory.get(), bytes, false);
    if (flushes) add_trials(trials, probe, memory.get(), memory_bytes, true);
    race(trials, seconds);

    const double added = static_cast<double>(additions) / std::min(trials[0].seconds, 1.05 * trials[2].seconds);
    Measured result{
        .hertz = added,
        .multiply_adds = static_cast<double>(rounds * probe.chains) / trials[1].seconds,
        .rates = {},
        .memory = {0, 0},
    };
    const auto rates_of = [&](std::size_t number, Index bytes, bool flushed) {
        const double moved = static_cast<double>(bytes * repeats_of(bytes, flushed));
        return std::make_pair(moved / trials[2 * number + 3].seconds, moved / trials[2 * number + 4].seconds);
    };
    for (std::size_t n = 0; n < working_sets.size(); ++n) result.rates.push_back(rates_of(n, working_sets[n], false));
    if (flushes) result.memory = rates_of(working_sets.size(), memory_bytes, true);
    return result;
}

}  // namespace backstride
