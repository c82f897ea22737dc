# Leaves out of llama.cpp what llmchat does not use (its command-line tools' common library): 83 build steps instead of 193.
# llama-cpp-python forces the cache entry of this option; a normal variable, set when the project begins, shadows it.
set(LLAMA_BUILD_COMMON OFF)

# AMX kernels that do not crash: what GCC gets wrong is put right for the library that has them. The header goes into the
# package too, where library.py takes it as the sign that weights may be ordered for AMX.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(LLMCHAT_AMX_TILES "${CMAKE_CURRENT_LIST_DIR}/amx_tiles.h")  # what is deferred is evaluated when this file is gone
    cmake_language(DEFER CALL target_compile_options ggml-cpu PRIVATE
        "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include \"${LLMCHAT_AMX_TILES}\">")
    install(FILES "${LLMCHAT_AMX_TILES}" DESTINATION "${SKBUILD_PLATLIB_DIR}/llama_cpp/lib")
endif()
