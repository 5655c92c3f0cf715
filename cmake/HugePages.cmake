# Weights that are read anew for every token, gigabytes of them, in huge pages: fewer translations of
# addresses to look up. Not in the llama-server that benchmarks/server.py compares with.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT WITH_LLAMA_SERVER)
    set_source_files_properties("${LLAMA_CPP_DIR}/ggml/src/ggml.c" TARGET_DIRECTORY ggml-base PROPERTIES
        COMPILE_OPTIONS "-include;${CMAKE_CURRENT_LIST_DIR}/huge_pages.h")
endif()
