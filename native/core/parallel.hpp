// A small pool of threads of our own: no OpenMP runtime to clash with the ones of NumPy, SciPy or PyTorch.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace cofactor {

// Asked by the calling thread between two pieces of work, at most every 50 ms; true ends the work early.
class Interrupt {
public:
    explicit Interrupt(bool (*poll)());

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
    void check();  // calling thread only

private:
    bool (*poll_)();
    std::atomic<bool> stopped_{false};
    std::int64_t last_;  // when it was asked
};

// What workers are to do: call(with, worker).
struct Job {
    const void* with;
    void (*call)(const void* with, int worker);

    template <class Work>
    static Job of(const Work& work) {
        return {&work, [](const void* with, int worker) { (*static_cast<const Work*>(with))(worker); }};
    }
};

// Calls the job with every worker from 0 to threads - 1, the calling thread being worker 0; returns when all are done.
// A call made while another one is running does its work on its own thread.
void run_on_threads(int threads, Job job, Interrupt& interrupt);

// body(begin, end, worker) over [0, n) in pieces of `grain`, handed out as workers become free.
// Bodies must not throw. Returns at once, with work undone, when the interrupt fires.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t grain, int threads, Interrupt& interrupt, Body&& body) {
    const std::int64_t pieces = (n + grain - 1) / grain;
    threads = static_cast<int>(std::clamp<std::int64_t>(pieces, 1, threads));
    std::atomic<std::int64_t> next{0};
    const auto work = [&](int worker) {
        for (;;) {
            const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
            if (piece >= pieces || interrupt.stopped()) return;
            body(piece * grain, std::min(n, (piece + 1) * grain), worker);
            if (worker == 0) interrupt.check();
        }
    };
    run_on_threads(threads, Job::of(work), interrupt);
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
