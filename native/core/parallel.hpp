// A small pool of threads of our own: no OpenMP runtime to clash with the ones of NumPy, SciPy or PyTorch.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace cofactor {

// Asked by the calling thread between two pieces of work, at most every 50 ms; true ends the work early.
class Interrupt {
public:
    explicit Interrupt(std::function<bool()> poll) : poll_(std::move(poll)) {}

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

    void check() {  // calling thread only
        const auto now = std::chrono::steady_clock::now();
        if (stopped() || now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        if (poll_()) stopped_.store(true, std::memory_order_relaxed);
    }

private:
    std::function<bool()> poll_;
    std::atomic<bool> stopped_{false};
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

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

    // job(worker) on `threads` workers, the calling thread being worker 0; returns when all are done.
    // A call made while another one is running does its work on its own thread.
    void run(int threads, const std::function<void(int)>& job, Interrupt& interrupt) {
        std::unique_lock busy(busy_, std::try_to_lock);
        if (threads <= 1 || !busy.owns_lock()) {
            job(0);
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
        job(0);
        std::unique_lock lock(mutex_);
        while (!done_.wait_for(lock, std::chrono::milliseconds(50), [&] { return unfinished_ == 0; })) {
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
            const std::function<void(int)>* job;
            {
                std::unique_lock lock(mutex_);
                start_.wait(lock, [&] { return generation_ != seen; });
                seen = generation_;
                if (id > wanted_) continue;
                job = job_;
            }
            (*job)(id);
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
    const std::function<void(int)>* job_ = nullptr;
    int wanted_ = 0, unfinished_ = 0;
    std::uint64_t generation_ = 0;
};

// body(begin, end, worker) over [0, n) in pieces of `grain`, handed out as workers become free.
// Bodies must not throw. Returns at once, with work undone, when the interrupt fires.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t grain, int threads, Interrupt& interrupt, Body&& body) {
    const std::int64_t pieces = (n + grain - 1) / grain;
    threads = static_cast<int>(std::clamp<std::int64_t>(pieces, 1, threads));
    std::atomic<std::int64_t> next{0};
    ThreadPool::instance().run(
        threads,
        [&](int worker) {
            for (;;) {
                const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
                if (piece >= pieces || interrupt.stopped()) return;
                body(piece * grain, std::min(n, (piece + 1) * grain), worker);
                if (worker == 0) interrupt.check();
            }
        },
        interrupt);
}

// Floats aligned to a cache line.
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t n) : data_(n ? new (std::align_val_t{64}) float[n]() : nullptr) {}
    float* data() { return data_.get(); }
    const float* data() const { return data_.get(); }

private:
    struct Free {
        void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
    };
    std::unique_ptr<float[], Free> data_;
};

}  // namespace cofactor
