// Included before the sources that report errors with fprintf(stderr, ...): sends those lines to
// the log callback instead, so that Python gets them and nothing prints.
#pragma once

#include <cstdio>

#include "ggml.h"

extern "C" {
GGML_API void ggml_log_internal(enum ggml_log_level level, const char * format, ...);
}

#undef fprintf
#define fprintf(stream, ...)                                                      \
    ((stream) == stderr ? ggml_log_internal(GGML_LOG_LEVEL_ERROR, __VA_ARGS__)    \
                        : static_cast<void>((fprintf)(stream, __VA_ARGS__)))
