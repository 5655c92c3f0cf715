# Known miscompilations of the engine. LLAMA_CPP_WORKAROUNDS names those that are worked around.
set(LLAMA_CPP_WORKAROUNDS "")

# An assertion of C code may be an exception of C++ (bridge/assertions.cpp), which passes through its callers.
if(NOT MSVC)
    foreach(_target ggml-base ggml ggml-cpu)
        if(TARGET ${_target})
            target_compile_options(${_target} PRIVATE $<$<COMPILE_LANGUAGE:C>:-fexceptions>)
        endif()
    endforeach()
endif()

# GGML_CPU_ALL_VARIANTS makes one ggml-cpu-<variant> target per instruction set.
get_property(_cpu_targets DIRECTORY "${LLAMA_CPP_DIR}/ggml/src" PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER _cpu_targets INCLUDE REGEX "^ggml-cpu")

# GCC before 11.5, 12.4 and 13.3 drops the stores that fill the AMX tile configuration, because
# _tile_loadconfig claims to read only 8 bytes of it: the first prompt of a quantized model dies
# with SIGSEGV or SIGILL (llama.cpp issues 20824 and 26954). Harmless where it is not needed.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14
   AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND _cpu_targets)
    set_source_files_properties("${LLAMA_CPP_DIR}/ggml/src/ggml-cpu/amx/mmq.cpp"
                                TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "-fno-tree-dse;-fno-dse")
    list(APPEND LLAMA_CPP_WORKAROUNDS "amx-tile-config")
endif()
