# Leaves out of llama.cpp what llmchat does not use (its command-line tools' common library): 83 build steps instead of 193.
# llama-cpp-python forces the cache entry of this option; a normal variable, set when the project begins, shadows it.
set(LLAMA_BUILD_COMMON OFF)
