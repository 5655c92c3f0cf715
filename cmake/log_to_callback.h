// Included before the sources that report errors with fprintf(stderr, ...): sends those lines to
// the log callback instead, so that Python gets them and nothing prints.
#pragma once

#include <cstdio>

#include "llama-impl.h"

#undef fprintf
#define fprintf(stream, ...) \
    (static_cast<void>(stream), llama_log_internal(GGML_LOG_LEVEL_ERROR, __VA_ARGS__))
