// One watcher for the process: ranges of pages with the number of their state, which changes
// whenever somebody finds them written to, so that owners of one range may ask one after the other.
#include "pages.h"

#if defined(__linux__)

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace backstride {
namespace {

// From <linux/userfaultfd.h> and <linux/fs.h>, which are older than this on many systems that compile it.
struct Range {
    std::uint64_t start, bytes;
};
struct Greeting {
    std::uint64_t version, features, ioctls;
};
struct Registration {
    Range range;
    std::uint64_t mode, ioctls;
};
struct Protection {
    Range range;
    std::uint64_t mode;
};
struct Region {
    std::uint64_t start, end, categories;
};
struct Scan {
    std::uint64_t size, flags, start, end, walk_end, regions, count, most_pages, inverted, all_of, any_of, returned;
};
constexpr unsigned long greet = _IOWR(0xAA, 0x3F, Greeting);
constexpr unsigned long enroll = _IOWR(0xAA, 0x00, Registration);
constexpr unsigned long dismiss = _IOR(0xAA, 0x01, Range);
constexpr unsigned long protect = _IOWR(0xAA, 0x06, Protection);
constexpr unsigned long scan = _IOWR('f', 16, Scan);
constexpr std::uint64_t version = 0xAA, for_writes = 1 << 1, user_mode_only = 1;
constexpr std::uint64_t unpopulated = 1 << 13, asynchronous = 1 << 15;
constexpr std::uint64_t is_written = 1 << 1, protect_again = 1 << 0, only_watched = 1 << 1;

struct Watched {
    std::size_t bytes;
    std::int64_t number;  // of the state of the pages: a new one whenever somebody found them written to
    int users;
};

struct Watcher {
    std::mutex mutex;
    std::unordered_map<std::uintptr_t, Watched> ranges;
    std::int64_t last = 0;  // the number given last
    int faults = -1, table = -1;
    bool opened = false;

    bool open() {
        if (opened) return faults >= 0;
        opened = true;
        faults = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | user_mode_only));
        if (faults < 0) return false;
        Greeting words{.version = version, .features = unpopulated | asynchronous, .ioctls = 0};
        table = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        Scan nothing{};
        nothing.size = sizeof nothing;
        if (table < 0 || ioctl(faults, greet, &words) != 0 || ioctl(table, scan, &nothing) < 0) close();
        return faults >= 0;
    }

    void close() {
        for (int* file : {&faults, &table}) {
            if (*file >= 0) ::close(*file);
            *file = -1;
        }
    }

    // Whether any page was written to; with `again`, all are protected anew, in one step with the answer.
    enum class Answer { no, yes, unknown };
    Answer written(std::uintptr_t start, std::size_t bytes, bool again) const {
        Region region;
        Scan words{};
        words.size = sizeof words;
        words.flags = only_watched | (again ? protect_again : 0);
        words.end = start + bytes;
        words.regions = reinterpret_cast<std::uint64_t>(&region);
        words.count = 1;
        words.most_pages = again ? 0 : 1;
        words.all_of = words.returned = is_written;
        Answer answer = Answer::no;
        for (words.start = start; words.start < words.end; words.start = words.walk_end) {
            const int found = ioctl(table, scan, &words);
            if (found < 0 || words.walk_end <= words.start) return Answer::unknown;
            if (found > 0) answer = Answer::yes;
            if (found > 0 && !again) break;
        }
        return answer;
    }

    void leave(std::uintptr_t start, std::size_t bytes) const {
        Range range{.start = start, .bytes = bytes};
        ioctl(faults, dismiss, &range);
    }

    bool enter(std::uintptr_t start, std::size_t bytes) const {
        const Range range{.start = start, .bytes = bytes};
        Registration words{.range = range, .mode = for_writes, .ioctls = 0};
        if (ioctl(faults, enroll, &words) != 0) return false;
        Protection all{.range = range, .mode = 1};
        if (ioctl(faults, protect, &all) == 0) return true;
        leave(start, bytes);
        return false;
    }
};

Watcher& watcher() {
    static Watcher& one = *new Watcher;  // never destroyed: threads may still ask at the end of the process
    static const bool registered = [] {
        pthread_atfork([] { watcher().mutex.lock(); }, [] { watcher().mutex.unlock(); },
                       [] {  // a child has its own page table, in which nothing is watched
                           watcher().close();
                           watcher().opened = false;
                           watcher().ranges.clear();
                           watcher().mutex.unlock();
                       });
        return true;
    }();
    (void)registered;
    return one;
}

// Whether all of it is private memory of no file.
bool is_private(std::uintptr_t start, std::size_t bytes) {
    std::FILE* maps = std::fopen("/proc/self/maps", "re");
    if (!maps) return false;
    std::uintptr_t at = start;
    const std::uintptr_t end = start + bytes;
    char line[8192];  // paths have up to 4096 bytes, and some are escaped
    while (at < end && std::fgets(line, sizeof line, maps)) {
        unsigned long from, to, offset, inode;
        char modes[5];
        if (std::sscanf(line, "%lx-%lx %4s %lx %*s %lu", &from, &to, modes, &offset, &inode) != 5) break;
        if (to <= at) continue;
        if (from > at || modes[3] != 'p' || inode != 0) break;
        at = to;
    }
    std::fclose(maps);
    return at >= end;
}

// The number of the state that the pages are in from now on; 0 where they cannot be watched.
std::int64_t watch(std::uintptr_t start, std::size_t bytes) {
    Watcher& all = watcher();
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (!all.open()) return 0;
    const auto found = all.ranges.find(start);
    if (found != all.ranges.end()) {
        Watched& range = found->second;
        const auto answer = range.bytes == bytes ? all.written(start, bytes, true) : Watcher::Answer::unknown;
        if (answer != Watcher::Answer::unknown) {
            if (answer == Watcher::Answer::yes) range.number = ++all.last;
            ++range.users;
            return range.number;
        }
        all.leave(start, range.bytes);
        all.ranges.erase(found);
    }
    if (!is_private(start, bytes) || !all.enter(start, bytes)) return 0;
    all.ranges[start] = {.bytes = bytes, .number = ++all.last, .users = 1};
    return all.last;
}

bool holds(std::uintptr_t address, const std::vector<char>& bytes) {
    return bytes.empty() || std::memcmp(reinterpret_cast<const char*>(address), bytes.data(), bytes.size()) == 0;
}

}  // namespace

std::unique_ptr<Pages> Pages::of(std::uintptr_t address, std::size_t bytes) {
    static const std::uintptr_t page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t end = address + bytes, start = (address + page - 1) / page * page, stop = end / page * page;
    if (stop <= start) return nullptr;
    const std::int64_t number = watch(start, stop - start);
    return std::unique_ptr<Pages>(number == 0 ? nullptr : new Pages(address, start, stop, end, number));
}

Pages::Pages(std::uintptr_t address, std::uintptr_t start, std::uintptr_t stop, std::uintptr_t end, std::int64_t number)
    : start_(start), stop_(stop), number_(number),
      front_(reinterpret_cast<const char*>(address), reinterpret_cast<const char*>(start)),
      back_(reinterpret_cast<const char*>(stop), reinterpret_cast<const char*>(end)) {}

Pages::~Pages() {
    Watcher& all = watcher();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.ranges.find(start_);
    if (found == all.ranges.end() || found->second.bytes != stop_ - start_ || --found->second.users > 0) return;
    all.leave(start_, stop_ - start_);
    all.ranges.erase(found);
}

bool Pages::stayed() const {
    if (!holds(start_ - front_.size(), front_) || !holds(stop_, back_)) return false;
    Watcher& all = watcher();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.ranges.find(start_);
    return found != all.ranges.end() && found->second.bytes == stop_ - start_ && found->second.number == number_ &&
           all.written(start_, stop_ - start_, false) == Watcher::Answer::no;
}

}  // namespace backstride

#else

namespace backstride {

std::unique_ptr<Pages> Pages::of(std::uintptr_t, std::size_t) { return nullptr; }
Pages::~Pages() = default;
bool Pages::stayed() const { return false; }

}  // namespace backstride

#endif
