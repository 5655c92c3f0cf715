// Included before ggml.c, which allocates weights, caches and buffers with posix_memalign: asks the
// kernel to back the large ones with huge pages, which most distributions give only to who asks.
#pragma once

#include <stdlib.h>
#include <sys/mman.h>

// Of x86 and, with pages of 4 KiB, of ARM.
#define HUGE_PAGE_BYTES ((size_t) 2 << 20)

static inline int memalign_huge(void ** memory, size_t alignment, size_t size) {
    if (size < 2 * HUGE_PAGE_BYTES) {
        return posix_memalign(memory, alignment, size);
    }
    const int error = posix_memalign(memory, HUGE_PAGE_BYTES, size);
    if (error == 0) {
        // A kernel without huge pages refuses, and nothing else changes.
        (void) madvise(*memory, size, MADV_HUGEPAGE);
    }
    return error;
}

#define posix_memalign memalign_huge
