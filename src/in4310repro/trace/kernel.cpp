// Hashes and summaries of tensors in one pass over their memory; hashing.py has the formula, and the same in torch.

#include "../arithmetic/threads.hpp"
#include "../arithmetic/vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t WORDS = 4096, BLOCK = 4 * WORDS;  // words of 32 bits in a block, and bytes
constexpr ptrdiff_t TURNED = 8192;  // words that are turned at once, if 8 channels are no more
constexpr ptrdiff_t LANES = 8;
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

// Values of maps in channels_last order: images x positions x channels; no positions: values in the order of their axes.
struct Layout {
    ptrdiff_t images, positions, channels;

    ptrdiff_t chunk() const { return std::max(LANES, TURNED / positions / LANES * LANES); }  // channels turned at once
    ptrdiff_t chunks() const { return (channels + chunk() - 1) / chunk(); }
    ptrdiff_t items(ptrdiff_t bytes) const { return positions ? images * chunks() : (bytes + BLOCK - 1) / BLOCK; }
};

// Rows of 8 words become columns: to[lane * stride + row] = from[row * channels + lane].
[[gnu::always_inline]] inline void turn(const uint32_t *from, ptrdiff_t channels, uint32_t *to, ptrdiff_t stride) {
#if defined(__AVX2__)
    __m256 row[8], pair[8], four[8];
    for (int i = 0; i < 8; i++) row[i] = load<__m256>(from + i * channels);
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            four[i + 2 * j] = _mm256_shuffle_ps(pair[i + j], pair[i + 2 + j], 0x44);
            four[i + 2 * j + 1] = _mm256_shuffle_ps(pair[i + j], pair[i + 2 + j], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        store(to + i * stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
        store(to + (i + 4) * stride, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
    }
#else
    for (int lane = 0; lane < 8; lane++)
        for (int i = 0; i < 8; i++) to[lane * stride + i] = from[i * channels + lane];
#endif
}

// Writes channels x positions of one image, as contiguous values have them.
void turn_image(const uint32_t *image, const Layout &layout, ptrdiff_t first, ptrdiff_t number, uint32_t *to) {
    ptrdiff_t positions = layout.positions, channels = layout.channels;
    ptrdiff_t by_eight = positions / 8 * 8, whole = number / 8 * 8;
    for (ptrdiff_t position = 0; position < positions; position += 8)
        for (ptrdiff_t channel = 0; channel < number; channel += 8) {
            const uint32_t *from = image + position * channels + first + channel;
            uint32_t *column = to + channel * positions + position;
            if (position < by_eight && channel < whole) {
                turn(from, channels, column, positions);
                continue;
            }
            for (ptrdiff_t lane = 0; lane < std::min<ptrdiff_t>(8, number - channel); lane++)
                for (ptrdiff_t i = 0; i < std::min<ptrdiff_t>(8, positions - position); i++)
                    column[lane * positions + i] = from[i * channels + lane];
        }
}

uint64_t factor(ptrdiff_t block) { return mix(uint64_t(block)) | 1; }

void add(Result &sum, const Result &part, uint64_t times) {
    sum.hash += times * part.hash;
    sum.squares += part.squares;
    sum.largest = std::max(sum.largest, part.largest);
    sum.not_finite += part.not_finite;
}

// The part of a tensor's sums from words that begin at place `first` of the tensor, in any block.
template <bool IS_FLOAT>
Result digest_words(const uint32_t *words, ptrdiff_t first, ptrdiff_t number, const uint32_t *weights) {
    Result sum = {0, 0, 0, 0};
    for (ptrdiff_t done = 0; done < number;) {
        ptrdiff_t place = first + done, inside = place % WORDS, part = std::min(WORDS - inside, number - done);
        const char *from = reinterpret_cast<const char *>(words + done);
        add(sum, digest_block<IS_FLOAT>(from, 4 * part, weights + inside), factor(place / WORDS));
        done += part;
    }
    return sum;
}

}  // namespace

EXPORTED const char *source() { return SOURCE; }

// For each tensor: the sum over blocks of (mix(block) | 1) * (sum over words of weight * word), and of float32 values the
// largest magnitude, the sum of squares (both of finite values) and the number of values that are not finite. The words
// are in the order of the axes; where there are positions, memory has images x positions x channels, and it is the order
// of images x channels x positions. Behind 4,096 weights there are 8 that are zero.
EXPORTED int digests(ptrdiff_t threads, ptrdiff_t tensors, const int64_t *addresses, const int64_t *bytes,
                     const int64_t *is_float, const int64_t *layouts, const int32_t *weights, int64_t *hashes,
                     double *summaries) {
    Memory<int64_t> firsts(tensors + 1);
    if (!firsts) return NO_MEMORY;
    firsts[0] = 0;
    ptrdiff_t turned = 0;
    auto layout_of = [&](ptrdiff_t tensor) {
        return Layout{layouts[3 * tensor], layouts[3 * tensor + 1], layouts[3 * tensor + 2]};
    };
    for (ptrdiff_t tensor = 0; tensor < tensors; tensor++) {
        Layout layout = layout_of(tensor);
        firsts[tensor + 1] = firsts[tensor] + layout.items(bytes[tensor]);
        if (layout.positions) turned = std::max(turned, layout.positions * layout.chunk());
    }
    threads = std::max<ptrdiff_t>(1, std::min<ptrdiff_t>(threads, 256));
    Memory<uint32_t> buffers(threads * turned + 1);
    Memory<Result> results(firsts[tensors] + 1);
    if (!results || !buffers) return NO_MEMORY;
    parallel(int(threads), firsts[tensors], [&](ptrdiff_t item, int thread) {
        ptrdiff_t tensor = std::upper_bound(firsts.data, firsts.data + tensors + 1, item) - firsts.data - 1;
        const char *from = reinterpret_cast<const char *>(addresses[tensor]);
        const uint32_t *table = reinterpret_cast<const uint32_t *>(weights);
        Layout layout = layout_of(tensor);
        item -= firsts[tensor];
        Result result = {0, 0, 0, 0};
        if (layout.positions) {
            ptrdiff_t image = item / layout.chunks(), channel = item % layout.chunks() * layout.chunk();
            ptrdiff_t number = std::min(layout.chunk(), layout.channels - channel);
            uint32_t *buffer = buffers.data + thread * turned;
            const uint32_t *words = reinterpret_cast<const uint32_t *>(from);
            turn_image(words + image * layout.positions * layout.channels, layout, channel, number, buffer);
            ptrdiff_t first = (image * layout.channels + channel) * layout.positions, all = number * layout.positions;
            result = is_float[tensor] ? digest_words<true>(buffer, first, all, table)
                                      : digest_words<false>(buffer, first, all, table);
        } else {
            ptrdiff_t first = item * BLOCK, number = std::min<ptrdiff_t>(BLOCK, bytes[tensor] - first);
            add(result, is_float[tensor] ? digest_block<true>(from + first, number, table)
                                         : digest_block<false>(from + first, number, table), factor(item));
        }
        results[firsts[tensor] + item] = result;
    });
    for (ptrdiff_t tensor = 0; tensor < tensors; tensor++) {
        Result sum = {0, 0, 0, 0};
        for (ptrdiff_t item = firsts[tensor]; item < firsts[tensor + 1]; item++) add(sum, results[item], 1);
        float largest;
        std::memcpy(&largest, &sum.largest, sizeof largest);
        hashes[tensor] = int64_t(sum.hash);
        summaries[3 * tensor] = double(largest);
        summaries[3 * tensor + 1] = sum.squares;
        summaries[3 * tensor + 2] = double(sum.not_finite);
    }
    return DONE;
}
