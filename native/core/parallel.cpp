#include "core/parallel.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace cofactor {

namespace {

constexpr std::chrono::milliseconds kPatience(50);  // between two questions to the calling thread

std::int64_t nanoseconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

class ThreadPool {
public:
    // The process's pool. A forked child starts its own: the parent's threads do not exist there.
    static ThreadPool& instance() {
        static std::mutex guard;
        static ThreadPool* pool = nullptr;
        static long owner = 0;
        std::lock_guard lock(guard);
        if (pool == nullptr || owner != process_id()) {
            pool = new ThreadPool();  // never destroyed: its threads may outlive every static object
            owner = process_id();
        }
        return *pool;
    }

    void run(int threads, const Job& job, Interrupt& interrupt) {
        std::unique_lock busy(busy_, std::try_to_lock);
        if (threads <= 1 || !busy.owns_lock()) {
            job.call(job.with, 0);
            return;
        }
        {
            std::lock_guard lock(mutex_);
            while (static_cast<int>(workers_.size()) < threads - 1) {
                workers_.emplace_back([this, id = static_cast<int>(workers_.size()) + 1] { serve(id); }).detach();
            }
            job_ = &job;
            wanted_ = threads - 1;
            unfinished_ = threads - 1;
            ++generation_;
        }
        start_.notify_all();
        job.call(job.with, 0);
        std::unique_lock lock(mutex_);
        while (!done_.wait_for(lock, kPatience, [&] { return unfinished_ == 0; })) {
            lock.unlock();
            interrupt.check();
            lock.lock();
        }
        job_ = nullptr;
    }

private:
    void serve(int id) {
        std::uint64_t seen = 0;
        for (;;) {
            const Job* job;
            {
                std::unique_lock lock(mutex_);
                start_.wait(lock, [&] { return generation_ != seen; });
                seen = generation_;
                if (id > wanted_) continue;
                job = job_;
            }
            job->call(job->with, id);
            std::lock_guard lock(mutex_);
            if (--unfinished_ == 0) done_.notify_one();
        }
    }

    static long process_id() {
#if defined(_WIN32)
        return 0;
#else
        return static_cast<long>(getpid());
#endif
    }

    std::mutex busy_, mutex_;
    std::condition_variable start_, done_;
    std::vector<std::thread> workers_;
    const Job* job_ = nullptr;
    int wanted_ = 0, unfinished_ = 0;
    std::uint64_t generation_ = 0;
};

}  // namespace

Interrupt::Interrupt(bool (*poll)()) : poll_(poll), last_(nanoseconds()) {}

void Interrupt::check() {
    const std::int64_t now = nanoseconds();
    if (stopped() || now - last_ < std::chrono::nanoseconds(kPatience).count()) return;
    last_ = now;
    if (poll_()) stopped_.store(true, std::memory_order_relaxed);
}

void run_on_threads(int threads, Job job, Interrupt& interrupt) { ThreadPool::instance().run(threads, job, interrupt); }

}  // namespace cofactor
