// What this machine can do at most: prints "flops GFLOP/s", then "copy BYTES GB/s" and "read BYTES GB/s" for
// working sets of several sizes. Usage: limits THREADS. Compiled on the spot by limits.py with -march=native.
//
// The peak: as many independent chains of fused multiply-adds as hide their latency, nothing else in the loop.
// A copy of n bytes counts 2n: read once, written once. Every number is the best of several tries, every thread on a
// processor of its own.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / 4, kChains = 12, kTries = 5;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Left to itself, a system may run two short-lived threads on one processor, and the limit of two is that of one.
void settle(int thread) {
#if defined(__linux__)
    cpu_set_t usable, own;
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
    int left = thread % std::max(1, CPU_COUNT(&usable));
    CPU_ZERO(&own);
    for (int processor = 0; processor < CPU_SETSIZE; ++processor)
        if (CPU_ISSET(processor, &usable) && left-- == 0) CPU_SET(processor, &own);
    sched_setaffinity(0, sizeof own, &own);
#else
    (void)thread;
#endif
}

// Seconds that work(thread) takes when all threads start together.
double together(int threads, const std::function<void(int)>& work) {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> pool;
    for (int thread = 0; thread < threads; ++thread) {
        pool.emplace_back([&, thread] {
            settle(thread);
            ready.fetch_add(1);
            while (!go.load()) {
            }
            work(thread);
        });
    }
    while (ready.load() < threads) std::this_thread::yield();
    const double start = now();
    go.store(true);
    for (std::thread& one : pool) one.join();
    return now() - start;
}

template <int kCount>
__attribute__((noinline)) float multiply_add(long rounds, float seed) {
    Vector sum[kCount], a = Vector{} + seed, b = Vector{} + 0.999999f;
    for (int chain = 0; chain < kCount; ++chain) sum[chain] = a + float(chain);
    for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
        for (int chain = 0; chain < kCount; ++chain) sum[chain] = sum[chain] * b + a;
    }
    float total = 0;
    for (int chain = 0; chain < kCount; ++chain)
        for (int lane = 0; lane < kLanes; ++lane) total += sum[chain][lane];
    return total;
}

volatile float sink;

double peak(int threads) {
    const long rounds = 4000000;
    double best = 0;
    for (int attempt = 0; attempt < kTries; ++attempt) {
        const double seconds = together(threads, [&](int thread) { sink = multiply_add<kChains>(rounds, 1e-6f * thread); });
        best = std::max(best, 2e-9 * kLanes * kChains * double(rounds) * threads / seconds);
    }
    return best;
}

struct Free {
    void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

Memory allocate(size_t bytes) {
    Memory memory(static_cast<char*>(std::aligned_alloc(4096, bytes)));
    if (!memory) std::exit(1);
    std::memset(memory.get(), 1, bytes);
    return memory;
}

__attribute__((noinline)) float read(const char* from, size_t bytes) {
    const Vector* data = reinterpret_cast<const Vector*>(from);
    Vector sum[8] = {};
    for (size_t i = 0; i < bytes / kBytes; i += 8)
        for (int chain = 0; chain < 8; ++chain) sum[chain] += data[i + chain];
    float total = 0;
    for (const Vector& one : sum) total += one[0];
    return total;
}

__attribute__((noinline)) void copy(char* to, const char* from, size_t bytes) {
    const Vector* source = reinterpret_cast<const Vector*>(from);
    Vector* target = reinterpret_cast<Vector*>(to);
    for (size_t i = 0; i < bytes / kBytes; i += 8)
        for (int part = 0; part < 8; ++part) target[i + part] = source[i + part];
    __asm__ volatile("" ::: "memory");
}

#if defined(__AVX512F__) || defined(__AVX__)
#include <immintrin.h>
__attribute__((noinline)) void stream(char* to, const char* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += kBytes) {
#if defined(__AVX512F__)
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_load_si512(from + i));
#else
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                            _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i)));
#endif
    }
    _mm_sfence();
}
#else
void stream(char* to, const char* from, size_t bytes) { std::memcpy(to, from, bytes); }
#endif

// Both arrays of a copy, of all threads, make up the working set.
void bandwidth(int threads, size_t working_set) {
    const size_t each = working_set / threads / 2 / 4096 * 4096;
    const long repeats = std::max<long>(2, (1L << 29) / long(working_set));
    std::vector<Memory> from, to;
    for (int thread = 0; thread < threads; ++thread) {
        from.push_back(allocate(each));
        to.push_back(allocate(each));
    }
    double copied = 0, read_rate = 0;
    const double gigabytes = 2e-9 * double(each) * threads * double(repeats);
    for (int attempt = 0; attempt < kTries; ++attempt) {
        for (const auto& way : {copy, stream}) {
            const double seconds = together(threads, [&](int t) {
                for (long n = 0; n < repeats; ++n) way(to[t].get(), from[t].get(), each);
            });
            copied = std::max(copied, gigabytes / seconds);
        }
        const double seconds = together(threads, [&](int t) {
            float total = 0;
            for (long n = 0; n < repeats; ++n) {
                total += read(from[t].get(), each) + read(to[t].get(), each);
                __asm__ volatile("" ::: "memory");
            }
            sink = total;
        });
        read_rate = std::max(read_rate, gigabytes / seconds);
    }
    std::printf("copy %zu %.2f\nread %zu %.2f\n", working_set, copied, working_set, read_rate);
}

int main(int count, char** words) {
    const int threads = count > 1 ? std::max(1, std::atoi(words[1])) : 1;
    std::printf("flops %.2f\n", peak(threads));
    for (size_t bytes = size_t(1) << 17; bytes <= size_t(1) << 29; bytes <<= 2) bandwidth(threads, bytes);
}
