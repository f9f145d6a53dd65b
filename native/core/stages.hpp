// Work in stages: threads share the pieces of each, and those of the next one wait until all are done.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/parallel.hpp"

namespace cofactor {

// body(stage, piece, worker) for the pieces [0, size(stage)) of every stage in [0, n). What short stages cost besides
// is a few microseconds, where parallel_for wakes its threads anew. A thread that comes late holds nobody up: it has
// claimed no piece. Returns at once, with work undone, when the interrupt fires.
template <class Size, class Body>
void parallel_stages(std::int64_t n, int threads, Interrupt& interrupt, Size&& size, Body&& body) {
    alignas(64) std::atomic<std::int64_t> next{0};
    alignas(64) std::atomic<std::int64_t> done{0};
    const auto await = [&](std::int64_t pieces, int worker) {
        constexpr int kSpins = 2000;
        for (int spins = 0; done.load(std::memory_order_acquire) < pieces && !interrupt.stopped(); ++spins) {
            if (spins < kSpins) continue;
            std::this_thread::yield();
            if (worker == 0) interrupt.check();
        }
    };
    const auto work = [&](int worker) {
        std::int64_t stage = 0, before = 0, own = n > 0 ? size(0) : 0;  // before: pieces of the stages before
        for (;;) {
            const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
            while (stage < n && piece >= before + own) {
                before += own;
                own = ++stage < n ? size(stage) : 0;
            }
            if (stage == n) return;
            await(before, worker);
            if (interrupt.stopped()) return;
            body(stage, piece - before, worker);
            done.fetch_add(1, std::memory_order_acq_rel);
            if (worker == 0) interrupt.check();
        }
    };
    run_on_threads(threads, Job::of(work), interrupt);
}

}  // namespace cofactor
