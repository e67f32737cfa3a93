// Blocks that were given back, by their size, under one lock, which is also held over a fork.
#include "results.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace backstride {
namespace {

constexpr std::size_t large_page = std::size_t(2) << 20;
constexpr auto page = std::align_val_t{large_page};
constexpr std::size_t header = 4096;  // in front of the numbers: how many bytes the block has

// A block takes results up to an eighth larger, so that inputs of slowly growing sizes find one. Only what is
// written takes memory.
std::size_t block_size(std::size_t bytes) {
    std::size_t step = 4096;
    while (step * 16 < bytes) step *= 2;
    return (bytes + bytes / 8 + step - 1) / step * step;
}

struct FreeBlocks {
    std::mutex mutex;
    std::multimap<std::size_t, void*> blocks;  // by size
    std::size_t bytes = 0;
};

// Never destroyed: results may be given back while the process ends.
FreeBlocks& kept() {
    static FreeBlocks* const all = [] {
        auto* made = new FreeBlocks;
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork([] { kept().mutex.lock(); }, [] { kept().mutex.unlock(); }, [] { kept().mutex.unlock(); });
#endif
        return made;
    }();
    return *all;
}

void* numbers_of(void* block) { return static_cast<char*>(block) + header; }

}  // namespace

void* take_result(std::size_t bytes) {
    {
        FreeBlocks& all = kept();
        const std::lock_guard<std::mutex> lock(all.mutex);
        const auto found = all.blocks.lower_bound(bytes);
        if (found != all.blocks.end() && found->first <= bytes + bytes / 8 * 3) {
            void* block = found->second;
            all.bytes -= found->first;
            all.blocks.erase(found);
            return numbers_of(block);
        }
    }
    const std::size_t size = block_size(bytes);
    void* block = ::operator new(size + header, page);
#if defined(__linux__)
    // In large pages, but for a small remainder at the end.
    const std::size_t used = bytes + header;
    madvise(block, used % large_page < large_page / 4 ? used - used % large_page : size + header, MADV_HUGEPAGE);
#endif
    *static_cast<std::size_t*>(block) = size;
    return numbers_of(block);
}

void give_result(void* memory) noexcept {
    void* block = static_cast<char*>(memory) - header;
    const std::size_t bytes = *static_cast<std::size_t*>(block);
    try {
        FreeBlocks& all = kept();
        const std::lock_guard<std::mutex> lock(all.mutex);
        if (bytes <= most_kept) {
            while (all.bytes + bytes > most_kept) {
                const auto smallest = all.blocks.begin();
                all.bytes -= smallest->first;
                ::operator delete(smallest->second, page);
                all.blocks.erase(smallest);
            }
            all.blocks.emplace(bytes, block);
            all.bytes += bytes;
            return;
        }
    } catch (const std::bad_alloc&) {
    }
    ::operator delete(block, page);
}

std::size_t release_results() noexcept {
    FreeBlocks& all = kept();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const std::size_t bytes = all.bytes;
    for (const auto& entry : all.blocks) ::operator delete(entry.second, page);
    all.blocks.clear();
    all.bytes = 0;
    return bytes;
}

}  // namespace backstride
