// Included before the sources that report errors with fprintf(stderr, ...): sends those lines to
// the log callback instead, so that Python gets them and nothing prints.
#pragma once

#include <cstdio>

#if __has_include("llama-impl.h")
#    include "llama-impl.h"
#    define LOG_ERROR_LINE(...) llama_log_internal(GGML_LOG_LEVEL_ERROR, __VA_ARGS__)
#else
#    include "ggml-impl.h"
#    define LOG_ERROR_LINE(...) ggml_log_internal(GGML_LOG_LEVEL_ERROR, __VA_ARGS__)
#endif

#undef fprintf
#define fprintf(stream, ...) (static_cast<void>(stream), LOG_ERROR_LINE(__VA_ARGS__))
