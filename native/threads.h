// A pool of threads for one process: any Python thread may use it, a forked child makes its own. Where a library's own
// threads wait for its next call on the processors that these need, the engine runs on them instead.
#pragma once

#include <cstddef>
#include <functional>

namespace backstride {

// How many threads a call may use; 0 restores the default, the processors this process may run on.
void set_num_threads(int count);
int get_num_threads();

// GOMP_parallel of the OpenMP library whose threads are used from now on, in place of a pool, and what says how many
// they may be by default.
struct Team {
    void (*run)(void (*work)(void*), void* data, unsigned threads, unsigned flags);
    int (*most)();
};

void share_threads(const Team& team);

// Calls work(task) for 0 <= task < tasks, on up to get_num_threads() threads; returns when all are done.
// While another thread holds the pool, and inside of a task, the caller does all the work itself.
// The first exception of a task is thrown again here, after all threads have stopped.
void parallel(std::ptrdiff_t tasks, const std::function<void(std::ptrdiff_t)>& work);

// While it lives, the calling thread asks `check` every 20 ms or so, between tasks and in `pause`, and throws
// Interrupted where that says yes.
struct Interrupted {};

void pause();

// Throws std::bad_alloc where there is no memory for what a thread keeps; to be called before all else.
void require_memory();

// Whether the calling thread is asking: a signal's handler called the engine again, in the midst of a call.
bool is_asking();

// What is made once for the process is made here, rather than while another thread forks.
void prepare_threads();

class Interruptible {
public:
    explicit Interruptible(bool (*check)());
    Interruptible(const Interruptible&) = delete;
    Interruptible& operator=(const Interruptible&) = delete;
    ~Interruptible();
};

}  // namespace backstride
