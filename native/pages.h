// Memory that Linux watches: whether anybody wrote to its pages since, answered without reading them.
//
// The pages are write-protected in the way in which the first write to each lifts the protection and goes on, unseen by
// who writes (userfaultfd, UFFD_FEATURE_WP_ASYNC), and their page table says which are still protected (PAGEMAP_SCAN);
// Linux 6.7 and later. The writes of system calls count, too. Only private memory of no file can be watched: others
// write to shared memory through page tables of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace backstride {

// Memory of one owner at one moment: its whole pages are watched, and of the bytes beside them there are copies.
class Pages {
public:
    // Null where no whole page lies within, or they cannot be watched.
    static std::unique_ptr<Pages> of(std::uintptr_t address, std::size_t bytes);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    // Whether nothing was written to them since; also false where that cannot be told. The memory must still be there.
    bool stayed() const;

private:
    Pages(std::uintptr_t address, std::uintptr_t start, std::uintptr_t stop, std::uintptr_t end, std::int64_t number);

    std::uintptr_t start_, stop_;  // of the whole pages
    std::int64_t number_;          // of the state of theirs
    std::vector<char> front_, back_;
};

// Memory of one owner at one moment, and a copy of its bytes to compare with.
class Copy {
public:
    Copy(std::uintptr_t address, std::size_t bytes)
        : memory_(reinterpret_cast<const char*>(address)), bytes_(memory_, memory_ + bytes) {}

    // Whether the memory, which must still be there, holds the same bytes.
    bool stayed() const { return std::memcmp(memory_, bytes_.data(), bytes_.size()) == 0; }

private:
    const char* memory_;
    std::vector<char> bytes_;
};

}  // namespace backstride
