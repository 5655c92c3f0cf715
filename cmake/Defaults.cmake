# Our defaults for llama.cpp's options. A -D on the command line is in the cache first, and wins.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# ctypes loads shared libraries; mtmd and llama-common are part of what Python binds.
set(BUILD_SHARED_LIBS ON CACHE BOOL "" FORCE)
set(LLAMA_BUILD_COMMON ON CACHE BOOL "" FORCE)
set(LLAMA_BUILD_MTMD ON CACHE BOOL "" FORCE)

foreach(_off LLAMA_BUILD_TESTS LLAMA_BUILD_TOOLS LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER
             LLAMA_BUILD_APP LLAMA_BUILD_UI LLAMA_USE_PREBUILT_UI LLAMA_TOOLS_INSTALL
             LLAMA_CURL LLAMA_OPENSSL)
    set(${_off} OFF CACHE BOOL "")
endforeach()

# libgomp keeps one team of spinning workers per calling thread, which halves decoding as soon as
# a second Python thread decodes: docs/architecture.md, "Threads".
set(GGML_OPENMP OFF CACHE BOOL "ggml: use OpenMP")
set(GGML_RPC ON CACHE BOOL "ggml: use RPC")
# Off for reproducible builds too, as upstream does, and with loadable backends, which refuse it.
if(CMAKE_CROSSCOMPILING OR DEFINED ENV{SOURCE_DATE_EPOCH} OR GGML_BACKEND_DL)
    set(GGML_NATIVE OFF CACHE BOOL "ggml: optimize the build for the current system")
else()
    set(GGML_NATIVE ON CACHE BOOL "ggml: optimize the build for the current system")
endif()

# The vendored tree is no git checkout of its own, and git would report OUR commit as llama.cpp's.
set(LLAMA_BUILD_COMMIT "${LLAMA_CPP_COMMIT}" CACHE STRING "llama.cpp commit" FORCE)
set(LLAMA_BUILD_NUMBER 0 CACHE STRING "llama.cpp build number")
