// Hashes and summaries of tensors in one pass over their memory; hashing.py has the formula, and the same in torch.

#include "../arithmetic/threads.hpp"
#include "../arithmetic/vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t BLOCK = 16384;  // bytes, 4,096 words of 32 bits
constexpr int LANES = 8;
constexpr uint32_t INFINITE = 0x7f800000, MAGNITUDE = 0x7fffffff;

typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int32_t Masks __attribute__((vector_size(4 * LANES)));
typedef float Values __attribute__((vector_size(4 * LANES)));
typedef uint64_t Sums __attribute__((vector_size(4 * LANES)));
typedef double Squares __attribute__((vector_size(8 * LANES)));

struct Result {
    uint64_t hash;
    double squares;
    uint32_t largest;
    int64_t not_finite;
};

uint64_t mix(uint64_t number) {  // splitmix64
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

// The sums of left * right over pairs of lanes, modulo 2^64.
[[gnu::always_inline]] inline Sums product(Words left, Words right) {
#if defined(__AVX2__)
    __m256i l = __m256i(left), r = __m256i(right);
    return Sums(_mm256_mul_epu32(l, r)) + Sums(_mm256_mul_epu32(_mm256_srli_epi64(l, 32), _mm256_srli_epi64(r, 32)));
#else
    constexpr uint64_t LOW = 0xffffffff;
    Sums l = Sums(left), r = Sums(right);
    return (l & LOW) * (r & LOW) + (l >> 32) * (r >> 32);
#endif
}

// Sums of a block, in lanes that do not depend on the instruction set.
template <bool IS_FLOAT>
class Block {
   public:
    [[gnu::always_inline]] inline void add(Words bits, Words weights) {
        hash += product(bits, weights);
        if (!IS_FLOAT) return;
        Words magnitude = bits & MAGNITUDE;
        Masks finite = Masks(magnitude) < Masks(Words{} + INFINITE);
        not_finite += Words(finite) + 1;  // a true lane is all ones
        magnitude &= Words(finite);
        largest = Masks(magnitude) > Masks(largest) ? magnitude : largest;
        Squares values = __builtin_convertvector(Values(magnitude), Squares);
        squares += values * values;
    }

    Result sum() const {
        Result result = {0, 0, 0, 0};
        for (int lane = 0; lane < LANES / 2; lane++) result.hash += hash[lane];
        for (int lane = 0; lane < LANES; lane++) {
            result.squares += squares[lane];
            result.largest = std::max(result.largest, uint32_t(largest[lane]));
            result.not_finite += int64_t(not_finite[lane]);
        }
        return result;
    }

   private:
    Sums hash = {};
    Squares squares = {};
    Words largest = {}, not_finite = {};
};

template <bool IS_FLOAT>
Result digest_block(const char *bytes, ptrdiff_t number, const uint32_t *weights) {
    constexpr ptrdiff_t VECTOR = sizeof(Words);
    Block<IS_FLOAT> block;
    ptrdiff_t first = 0;
    for (; first + VECTOR <= number; first += VECTOR) block.add(load<Words>(bytes + first), load<Words>(weights + first / 4));
    if (first < number) {
        Words rest = {};
        std::memcpy(&rest, bytes + first, size_t(number - first));
        block.add(rest, load<Words>(weights + first / 4));
    }
    return block.sum();
}

}  // namespace

EXPORTED const char *source() { return SOURCE; }

// For each tensor: the sum over blocks of (mix(block) | 1) * (sum over words of weight * word), and of float32 values the
// largest magnitude, the sum of squares (both of finite values) and the number of values that are not finite.
EXPORTED int digests(ptrdiff_t threads, ptrdiff_t tensors, const int64_t *addresses, const int64_t *bytes,
                     const int64_t *is_float, const int32_t *weights, int64_t *hashes, double *summaries) {
    Memory<int64_t> firsts(tensors + 1);
    if (!firsts) return NO_MEMORY;
    firsts[0] = 0;
    for (ptrdiff_t tensor = 0; tensor < tensors; tensor++)
        firsts[tensor + 1] = firsts[tensor] + (bytes[tensor] + BLOCK - 1) / BLOCK;
    Memory<Result> results(firsts[tensors] + 1);
    if (!results) return NO_MEMORY;
    parallel(int(threads), firsts[tensors], [&](ptrdiff_t item, int) {
        ptrdiff_t tensor = std::upper_bound(firsts.data, firsts.data + tensors + 1, item) - firsts.data - 1;
        ptrdiff_t first = (item - firsts[tensor]) * BLOCK, number = std::min<ptrdiff_t>(BLOCK, bytes[tensor] - first);
        const char *from = reinterpret_cast<const char *>(addresses[tensor]) + first;
        const uint32_t *table = reinterpret_cast<const uint32_t *>(weights);
        results[item] = is_float[tensor] ? digest_block<true>(from, number, table) : digest_block<false>(from, number, table);
    });
    for (ptrdiff_t tensor = 0; tensor < tensors; tensor++) {
        Result sum = {0, 0, 0, 0};
        for (ptrdiff_t item = firsts[tensor]; item < firsts[tensor + 1]; item++) {
            sum.hash += (mix(uint64_t(item - firsts[tensor])) | 1) * results[item].hash;
            sum.squares += results[item].squares;
            sum.largest = std::max(sum.largest, results[item].largest);
            sum.not_finite += results[item].not_finite;
        }
        float largest;
        std::memcpy(&largest, &sum.largest, sizeof largest);
        hashes[tensor] = int64_t(sum.hash);
        summaries[3 * tensor] = double(largest);
        summaries[3 * tensor + 1] = sum.squares;
        summaries[3 * tensor + 2] = double(sum.not_finite);
    }
    return DONE;
}
