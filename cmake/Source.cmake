# Finds or fetches the pinned llama.cpp sources: vendor/fetch_llama_cpp.py decides and explains.
# LLAMA_CPP_SOURCE_DIR (-D or environment) names a tree of your own. The pinned sources are built from a
# copy with vendor/patches applied, other trees as they are; LLAMA_CPP_PATCHES says otherwise.
set(LLAMA_CPP_SOURCE_DIR "" CACHE PATH "A llama.cpp tree to build instead of the pinned one")
set(LLAMA_CPP_PATCHES "" CACHE STRING "Apply vendor/patches: ON, OFF, or empty for the pinned sources only")
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(_fetch "${CMAKE_CURRENT_SOURCE_DIR}/vendor/fetch_llama_cpp.py")
set(_fetch_arguments "")
if(LLAMA_CPP_SOURCE_DIR)
    list(APPEND _fetch_arguments --source-dir "${LLAMA_CPP_SOURCE_DIR}")
endif()
execute_process(COMMAND "${Python3_EXECUTABLE}" "${_fetch}" ${_fetch_arguments}
                OUTPUT_VARIABLE LLAMA_CPP_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
                RESULT_VARIABLE _fetch_result)
if(_fetch_result)
    message(FATAL_ERROR "llama.cpp's sources are not there: see the message above.")
endif()

# A changed pin must configure again.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp.toml"
             "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp.lock" "${_fetch}")

# LLAMA_CPP_COMMIT: what is built, which need not be what is pinned.
set(LLAMA_CPP_COMMIT "unknown")
if(EXISTS "${LLAMA_CPP_DIR}/.pin.json")
    file(READ "${LLAMA_CPP_DIR}/.pin.json" _stamp)
    string(JSON LLAMA_CPP_COMMIT GET "${_stamp}" commit)
elseif(EXISTS "${LLAMA_CPP_DIR}/.git")
    find_package(Git QUIET)
    if(GIT_FOUND)
        execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${LLAMA_CPP_DIR}" rev-parse HEAD
                        OUTPUT_VARIABLE LLAMA_CPP_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE)
    endif()
endif()

# LLAMA_CPP_APPLIED_PATCHES: the names of those that are in.
set(LLAMA_CPP_APPLIED_PATCHES "")
set(_patch "${LLAMA_CPP_PATCHES}")
if(_patch STREQUAL "")
    # llama-server is built to compare with, so it is upstream's.
    if(EXISTS "${LLAMA_CPP_DIR}/.pin.json" AND NOT LLAMA_CPP_SOURCE_DIR AND NOT WITH_LLAMA_SERVER
       AND "$ENV{LLAMA_CPP_SOURCE_DIR}" STREQUAL "")
        set(_patch ON)
    else()
        set(_patch OFF)
    endif()
endif()
if(_patch)
    set(_apply "${CMAKE_CURRENT_SOURCE_DIR}/vendor/apply_patches.py")
    set(_copy "${CMAKE_CURRENT_BINARY_DIR}/patched/llama.cpp")
    file(GLOB _patches CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/vendor/patches/*.patch")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_apply}" ${_patches})
    execute_process(COMMAND "${Python3_EXECUTABLE}" "${_apply}" "${LLAMA_CPP_DIR}" "${_copy}"
                    OUTPUT_VARIABLE _applied OUTPUT_STRIP_TRAILING_WHITESPACE
                    RESULT_VARIABLE _apply_result)
    if(_apply_result)
        message(FATAL_ERROR "llama.cpp's sources cannot be patched: see the message above.")
    endif()
    string(REGEX REPLACE "[\r\n]+" ";" LLAMA_CPP_APPLIED_PATCHES "${_applied}")
    set(LLAMA_CPP_DIR "${_copy}")
endif()
