// One pool for the process, whose threads take tasks one after the other from a counter. Who waits
// looks for the next call for a moment before it sleeps. What fails in a task is thrown to the
// caller.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "tuning.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace backstride {
namespace {

// The calling thread asks between tasks, now and then, whether to go on.
thread_local bool (*interrupted)() = nullptr;
thread_local std::chrono::steady_clock::time_point asked;
thread_local bool asking = false;

void ask() {
    if (!interrupted || asking ||
        std::chrono::steady_clock::now() - asked < std::chrono::milliseconds(tuning::threads::questions))
        return;
    asking = true;
    const bool stops = interrupted();
    asking = false;
    asked = std::chrono::steady_clock::now();  // however long that took, work goes on between two questions
    if (stops) throw Interrupted();
}

int processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count ? static_cast<int>(count) : 1;
}

inline void breathe() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Whether it came true in time.
template <typename Condition>
bool watch(const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(tuning::threads::patience);
    do {
        for (int n = 0; n < tuning::threads::looks; ++n) {
            if (condition()) return true;
            breathe();
        }
    } while (std::chrono::steady_clock::now() < end);
    return condition();
}

// Whether there is memory for a thread's own variables and for the destructors of its buffers: the C library ends the
// process where there is none. Nothing that is thread_local may be touched before.
bool has_memory() {
    void* volatile memory = std::malloc(std::size_t(1) << 16);  // or a compiler leaves it out
    void* const got = memory;
    std::free(got);
    return got != nullptr;
}

// Tasks that threads take one after the other.
struct Round {
    const std::function<void(std::ptrdiff_t)>* work = nullptr;
    std::ptrdiff_t tasks = 0;
    std::atomic<std::ptrdiff_t> next{0};
    std::mutex failing;
    std::exception_ptr failure;

    void begin(std::ptrdiff_t count, const std::function<void(std::ptrdiff_t)>& all) {
        work = &all;
        tasks = count;
        next.store(0);
        failure = nullptr;
    }

    // Not the caller, who does all the work where the others have no memory left.
    void help();

    void take() {
        for (std::ptrdiff_t task; (task = next.fetch_add(1)) < tasks;) {
            try {
                ask();
                (*work)(task);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(failing);
                if (!failure) failure = std::current_exception();
                next.store(tasks);
            }
        }
    }

    void end() {
        work = nullptr;
        if (failure) std::rethrow_exception(failure);
    }
};

class Pool {
public:
    void run(std::ptrdiff_t tasks, int threads, const std::function<void(std::ptrdiff_t)>& work) {
        {
            const std::lock_guard<std::mutex> lock(state_);
            all_.begin(tasks, work);
            try {
                while (static_cast<int>(workers_.size()) < threads - 1) {
                    const auto number = static_cast<int>(workers_.size());
                    workers_.emplace_back([this, number] { serve(number); });
                }
            } catch (const std::exception&) {  // no memory for a thread: those that are there do the work
            }
            invited_ = std::min(threads - 1, static_cast<int>(workers_.size()));
            busy_.store(invited_);
            round_.fetch_add(1);
        }
        if (sleepers_.load() > 0) wake_.notify_all();
        all_.take();
        if (!watch([this] { return busy_.load() == 0; })) {
            std::unique_lock<std::mutex> lock(state_);
            done_.wait(lock, [this] { return busy_.load() == 0; });
        }
        all_.end();
    }

    std::mutex in_use;  // held by the caller whose tasks run

private:
    void serve(int number);

    std::mutex state_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    Round all_;
    std::atomic<unsigned long> round_{0};
    std::atomic<int> busy_{0}, sleepers_{0};
    int invited_ = 0;
};

thread_local bool inside = false;
std::atomic<int> chosen{0};

void Round::help() {
    if (!has_memory()) return;
    (void)std::uncaught_exceptions();  // the C++ library's own
    inside = true;
    take();
    inside = false;
}

// Never destroyed: its threads outlive static destruction, and a forked child has none of them.
std::atomic<Pool*> current{nullptr};

// Of another library, or null; its threads are not in a forked child either.
std::atomic<decltype(Team::run)> lent{nullptr};
std::atomic<decltype(Team::most)> most_lent{nullptr};

void forget_after_fork() {
    current.store(new Pool);
    lent.store(nullptr);
}

Pool& pool() {
    static const bool made = [] {
        current.store(new Pool);
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(nullptr, nullptr, forget_after_fork);
#endif
        return true;
    }();
    (void)made;
    return *current.load();
}

void Pool::serve(int number) {
    unsigned long seen = 0;
    for (;;) {
        const auto called = [&] { return round_.load() != seen; };
        if (!watch(called)) {
            std::unique_lock<std::mutex> lock(state_);
            sleepers_.fetch_add(1);
            wake_.wait(lock, called);
            sleepers_.fetch_sub(1);
        }
        bool mine;
        {
            const std::lock_guard<std::mutex> lock(state_);  // what belongs to the round was written under it
            seen = round_.load();
            mine = number < invited_;
        }
        if (!mine) continue;
        all_.help();
        if (busy_.fetch_sub(1) == 1) {
            {
                const std::lock_guard<std::mutex> lock(state_);
            }  // the caller has slept by now, or sees it
            done_.notify_one();
        }
    }
}

}  // namespace

void pause() { ask(); }

void require_memory() {
    if (!has_memory()) throw std::bad_alloc();
}

bool is_asking() { return asking; }

void prepare_threads() { (void)pool(); }

Interruptible::Interruptible(bool (*check)()) {
    interrupted = check;
    asked = std::chrono::steady_clock::now();
}

Interruptible::~Interruptible() { interrupted = nullptr; }

void set_num_threads(int count) { chosen.store(count); }

int get_num_threads() {
    const int count = chosen.load();
    if (count > 0) return count;
    const auto most = most_lent.load();
    return most ? std::max(1, most()) : processors();
}

void share_threads(const Team& team) {
    (void)pool();  // which knows of forks
    most_lent.store(team.most);
    lent.store(team.run);
}

namespace {

void run_lent(decltype(Team::run) run, std::ptrdiff_t tasks, int threads,
              const std::function<void(std::ptrdiff_t)>& work) {
    struct Lent {
        Round round;
        std::thread::id caller = std::this_thread::get_id();
    } all;
    all.round.begin(tasks, work);
    const auto take = [](void* data) {
        auto& given = *static_cast<Lent*>(data);
        if (std::this_thread::get_id() != given.caller) return given.round.help();
        inside = true;
        given.round.take();
        inside = false;
    };
    run(take, &all, static_cast<unsigned>(threads), 0);
    all.round.end();
}

}  // namespace

void parallel(std::ptrdiff_t tasks, const std::function<void(std::ptrdiff_t)>& work) {
    const int threads = static_cast<int>(std::min<std::ptrdiff_t>(tasks, get_num_threads()));
    if (threads > 1 && !inside) {
        Pool& shared = pool();
        const std::unique_lock<std::mutex> own(shared.in_use, std::try_to_lock);
        if (own.owns_lock()) {
            if (const auto run = lent.load()) return run_lent(run, tasks, threads, work);
            inside = true;
            try {
                shared.run(tasks, threads, work);
            } catch (...) {
                inside = false;
                throw;
            }
            inside = false;
            return;
        }
    }
    for (std::ptrdiff_t task = 0; task < tasks; ++task) {
        ask();
        work(task);
    }
}

}  // namespace backstride
