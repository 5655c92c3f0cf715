# Known miscompilations of the engine and its prints, and how each is cured. LLAMA_CPP_CURES names
# those applied.
set(LLAMA_CPP_CURES "")

# GGML_CPU_ALL_VARIANTS makes one ggml-cpu-<variant> target per instruction set.
get_property(_cpu_targets DIRECTORY "${LLAMA_CPP_DIR}/ggml/src" PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER _cpu_targets INCLUDE REGEX "^ggml-cpu")
set(_amx_dir "${LLAMA_CPP_DIR}/ggml/src/ggml-cpu/amx")

# GCC before 11.5, 12.4 and 13.3 drops the stores that fill the AMX tile configuration, because
# _tile_loadconfig claims to read only 8 bytes of it: the first prompt of a quantized model dies
# with SIGSEGV or SIGILL (llama.cpp issues 20824 and 26954). Harmless where it is not needed.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14
   AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND _cpu_targets)
    set_source_files_properties("${_amx_dir}/mmq.cpp" TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "-fno-tree-dse;-fno-dse")
    list(APPEND LLAMA_CPP_CURES "amx-tile-config")
endif()

# The grammar parser, the tokenizer's regex code, the JSON schema converter and the AMX check print
# their errors; a library must not, and Python wants the text in the exception.
if(MSVC)
    set(_force_include "/FI${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
else()
    set(_force_include -include "${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
endif()
set_source_files_properties("${LLAMA_CPP_DIR}/src/llama-grammar.cpp"
                            "${LLAMA_CPP_DIR}/src/unicode.cpp"
                            TARGET_DIRECTORY llama PROPERTIES COMPILE_OPTIONS "${_force_include}")
set_source_files_properties("${LLAMA_CPP_DIR}/common/json-schema-to-grammar.cpp"
                            TARGET_DIRECTORY llama-common
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
if(_cpu_targets)
    set_source_files_properties("${_amx_dir}/amx.cpp" TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "${_force_include}")
endif()
list(APPEND LLAMA_CPP_CURES "errors-to-log")
