// GCC's own `_tile_loadconfig` tells the compiler that it reads 8 bytes of the configuration, where it reads 64. The
// rest of it is then never written, and the first use of AMX ends the process (seen with GCC 12). See trim.cmake.
#include <immintrin.h>
#if defined(__AMX_TILE__)
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))
#endif
