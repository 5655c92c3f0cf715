// Included before the sources that report errors with fprintf(stderr, ...), or through the printer of
// the engine's own programs: sends those lines to the log callback instead, so that Python gets them
// and nothing prints.
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

#if __has_include("log.h")
#    include "log.h"
#    undef LOG_TMPL
#    define LOG_TMPL(level, verbosity, ...)                    \
        do {                                                   \
            if ((verbosity) <= LOG_LEVEL_INFO) {               \
                ggml_log_internal((level), __VA_ARGS__);       \
            }                                                  \
        } while (0)
#endif
