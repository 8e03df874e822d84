// Hashes and summaries of tensors in one pass over their memory; hashing.py has the formula, and the same in torch.

#include "../arithmetic/vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t BLOCK = 4096;      // words of 32 bits
constexpr ptrdiff_t ITEM = 16 * 1024;  // words that a thread takes at once, at least a block or strip
constexpr int LANES = 16, VECTORS = LANES / FLOATS;  // words added at once, on every instruction set
constexpr int SUMS = 8;                              // of a sketch
constexpr int ROW = 4 + SUMS;                        // numbers of a result
constexpr uint32_t INFINITE = 0x7f800000, MAGNITUDE = 0x7fffffff;

typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef uint64_t Sums __attribute__((vector_size(BYTES)));
typedef float Half __attribute__((vector_size(BYTES / 2)));

// What is summed up beside the hash: nothing, float32 values that are all finite, or the finite ones of any.
enum Summary { NONE, FINITE, ANY };

struct Result {
    uint64_t hash;
    double squares;
    uint32_t largest;
    int64_t not_finite;
    double sketch[SUMS];
};

uint64_t mix(uint64_t number) {  // splitmix64
    number += 0x9e3779b97f4a7c15;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
    number = (number ^ number >> 27) * 0x94d049bb133111eb;
    return number ^ number >> 31;
}

uint64_t factor(ptrdiff_t block) { return mix(uint64_t(block)) | 1; }

double sign(ptrdiff_t block) { return factor(block) >> 63 ? -1 : 1; }

// Products of the lower halves of 64-bit lanes.
[[gnu::always_inline]] inline Sums product(Sums left, Sums right) {
#if defined(__AVX2__)
    return Sums(_mm256_mul_epu32(__m256i(left), __m256i(right)));
#else
    return (left & 0xffffffff) * (right & 0xffffffff);
#endif
}

// Half a vector of float32 values as float64 values.
[[gnu::always_inline]] inline Doubles widen(const void *values) {
#if defined(__AVX2__)
    return Doubles(_mm256_cvtps_pd(load<__m128>(values)));
#else
    return __builtin_convertvector(load<Half>(values), Doubles);
#endif
}

// Sums over words, in lanes that do not depend on the instruction set. They stay in registers where all is inlined.
// Each value has a random sign, by its weight and its block, and belongs to the sum number `place % 8` of the sketch.
// In order, that is the lane; in STRIPS, the lane's channel and the position decide.
template <Summary SUMMARY, bool STRIPS>
class Digest {
   public:
    // Adds `rows` of 16 words, each times its weight; of strips, the first row is that of `position`.
    [[gnu::always_inline]] inline void add(const uint32_t *words, ptrdiff_t step, const uint32_t *weights,
                                           ptrdiff_t weights_step, ptrdiff_t rows, ptrdiff_t ahead, ptrdiff_t position = 0) {
        for (; rows; rows--, words += step, weights += weights_step, position++) {
            __builtin_prefetch(words + ahead);
            add(words, weights, STRIPS ? position % SUMS : 0);
        }
    }

    // Adds fewer words than 16.
    [[gnu::always_inline]] inline void add(const void *words, ptrdiff_t bytes, const uint32_t *weights, ptrdiff_t position) {
        uint32_t padded[LANES] = {};
        std::memcpy(padded, words, size_t(bytes));
        add(padded, weights, STRIPS ? position % SUMS : 0);
    }

    // What was added since the last call belongs to one block, and the word of lane l and position 0 is at place
    // `first + l * positions`.
    [[gnu::always_inline]] inline void close(ptrdiff_t block, ptrdiff_t first = 0, ptrdiff_t positions = 1) {
        Sums all = {};
        for (int i = 0; i < VECTORS; i++) all += even[i] + odd[i], even[i] = odd[i] = Sums{};
        uint64_t sum = 0;
        for (int lane = 0; lane < DOUBLES; lane++) sum += all[lane];
        hash += factor(block) * sum;
        close_sketch([&](int) { return block; }, first, positions);
    }

    // Each lane belongs to a block of its own.
    [[gnu::always_inline]] inline void close(const ptrdiff_t *blocks, ptrdiff_t first, ptrdiff_t positions) {
        close_sketch([&](int lane) { return blocks[lane]; }, first, positions);
        for (int i = 0; i < VECTORS; i++) {
            for (int lane = 0; lane < DOUBLES; lane++, blocks += 2)
                hash += factor(blocks[0]) * even[i][lane] + factor(blocks[1]) * odd[i][lane];
            even[i] = odd[i] = Sums{};
        }
    }

    Result result() const {
        Result sum = {hash, 0, 0, 0, {}};
        std::memcpy(sum.sketch, sketch, sizeof sketch);
        for (int lane = 0; lane < LANES; lane++) {
            sum.squares += squares[lane / DOUBLES][lane % DOUBLES];
            sum.largest = std::max(sum.largest, uint32_t(largest[lane / FLOATS][lane % FLOATS]));
            sum.not_finite += int64_t(not_finite[lane / FLOATS][lane % FLOATS]);
        }
        return sum;
    }

   private:
    template <class Block>
    [[gnu::always_inline]] inline void close_sketch(Block block, ptrdiff_t first, ptrdiff_t positions) {
        if (SUMMARY == NONE) return;
        for (int row = 0; row < (STRIPS ? SUMS : 1); row++)
            for (int lane = 0; lane < LANES; lane++) {
                double &sum = reinterpret_cast<double *>(signed_sums[row])[lane];
                sketch[(first + lane * positions + row) % SUMS] += sign(block(lane)) * sum;
                sum = 0;
            }
    }

    [[gnu::always_inline]] inline void add(const uint32_t *words, const uint32_t *weights, ptrdiff_t row) {
        for (int i = 0; i < VECTORS; i++) {
            Words bits = load<Words>(words + i * FLOATS), turned = bits;
            Sums word = Sums(bits), weight = load<Sums>(weights + i * FLOATS);
            even[i] += product(word, weight);
            odd[i] += product(word >> 32, weight >> 32);
            if (SUMMARY == NONE) continue;
            bits &= MAGNITUDE;
            if (SUMMARY == ANY) {
                Words finite = Words(bits < INFINITE);  // a true lane is all ones
                not_finite[i] += finite + 1;
                bits &= finite;
                turned &= finite;
            }
            largest[i] = bits > largest[i] ? bits : largest[i];
            turned ^= Words(weight) & ~MAGNITUDE;
            for (int half = 0; half < 2; half++) {
                Doubles value = widen(reinterpret_cast<const char *>(&turned) + half * BYTES / 2);
                squares[2 * i + half] = fma(value, value, squares[2 * i + half]);
                signed_sums[row][2 * i + half] += value;
            }
        }
    }

    Sums even[VECTORS] = {}, odd[VECTORS] = {};
    Doubles squares[2 * VECTORS] = {};
    Doubles signed_sums[STRIPS ? SUMS : 1][2 * VECTORS] = {};
    Words largest[VECTORS] = {}, not_finite[VECTORS] = {};
    double sketch[SUMS] = {};
    uint64_t hash = 0;
};

// The words of a tensor: in the order of its axes or, with positions, images x positions x channels (channels_last).
// `turned` are weights in the order of channels_last maps: rows of one channel after the other, for each position, until
// they repeat, and 16 more; null where they would take too much memory.
struct Tensor {
    const uint32_t *words, *weights, *turned;
    ptrdiff_t bytes, images, positions, channels;

    // In order, a piece is a block; else a strip: 16 channels at all positions of one image.
    ptrdiff_t strips() const { return (channels + LANES - 1) / LANES; }
    ptrdiff_t pieces() const { return positions ? images * strips() : (bytes + 4 * BLOCK - 1) / (4 * BLOCK); }
    ptrdiff_t pieces_of_item() const { return std::max<ptrdiff_t>(1, ITEM / (positions ? LANES * positions : BLOCK)); }
    ptrdiff_t items() const { return (pieces() + pieces_of_item() - 1) / pieces_of_item(); }
};

template <Summary SUMMARY>
[[gnu::always_inline]] inline void add_block(const Tensor &tensor, ptrdiff_t block, Digest<SUMMARY, false> &digest) {
    const uint32_t *words = tensor.words + block * BLOCK;
    ptrdiff_t bytes = std::min(4 * BLOCK, tensor.bytes - 4 * block * BLOCK);
    ptrdiff_t rows = bytes / (4 * LANES), done = rows * LANES;
    digest.add(words, LANES, tensor.weights, LANES, rows, 0);
    if (4 * done < bytes) digest.add(words + done, bytes - 4 * done, tensor.weights + done, 0);
    digest.close(block);
}

// Weights of 16 places, by their numbers modulo the size of a block.
[[gnu::always_inline]] inline void gather(const uint32_t *weights, const uint32_t *places, uint32_t *to) {
#if defined(__AVX2__)
    for (int i = 0; i < LANES; i += 8) {
        __m256i place = _mm256_and_si256(load<__m256i>(places + i), _mm256_set1_epi32(BLOCK - 1));
        store(to + i, _mm256_i32gather_epi32(reinterpret_cast<const int *>(weights), place, 4));
    }
#else
    for (int i = 0; i < LANES; i++) to[i] = weights[places[i] % BLOCK];
#endif
}

// The word of position p and channel c stands at place (image * channels + c) * positions + p in the order of the axes.
template <Summary SUMMARY>
[[gnu::always_inline]] inline void add_strips(const Tensor &tensor, ptrdiff_t strip, ptrdiff_t end,
                                              Digest<SUMMARY, true> &digest) {
    constexpr ptrdiff_t NONE_OPEN = -1;
    ptrdiff_t positions = tensor.positions, channels = tensor.channels, block = NONE_OPEN;
    ptrdiff_t image = strip / tensor.strips(), channel = strip % tensor.strips() * LANES;
    // Weights are the same again after so many channels, a power of two.
    ptrdiff_t period = std::max<ptrdiff_t>(1, BLOCK / (positions & -positions)), step = period + LANES;
    // Of small images, such as filters, no processor expects where the next one is read.
    ptrdiff_t ahead = positions < 32 ? positions * channels : 0;
    ptrdiff_t open = 0;  // place of the first word of the strips that are open, modulo 8
    for (; strip < end; strip++) {
        ptrdiff_t row = image * channels + channel, lanes = std::min<ptrdiff_t>(LANES, channels - channel);
        ptrdiff_t place_of_row = row * positions % SUMS;
        const uint32_t *words = tensor.words + image * positions * channels + channel;
        auto add = [&](ptrdiff_t position, ptrdiff_t to) {
            const uint32_t *from = words + position * channels;
            if (tensor.turned && lanes == LANES) {
                const uint32_t *weights = tensor.turned + position * step + (row & (period - 1));
                digest.add(from, channels, weights, step, to - position, ahead, position);
                return;
            }
            uint32_t places[LANES], weights[LANES];
            for (ptrdiff_t lane = 0; lane < LANES; lane++) places[lane] = uint32_t((row + lane) * positions + position);
            for (; position < to; position++, from += channels) {
                gather(tensor.weights, places, weights);
                for (uint32_t &place : places) place++;
                lanes == LANES ? digest.add(from, 0, weights, 0, 1, 0, position)
                               : digest.add(from, 4 * lanes, weights, position);
            }
        };
        ptrdiff_t first = row * positions / BLOCK, last = ((row + lanes) * positions - 1) / BLOCK;
        if (block != NONE_OPEN && (first != block || last != block || place_of_row != open))
            digest.close(block, open, positions), block = NONE_OPEN;
        if (first == last) {
            add(0, positions);
            block = first, open = place_of_row;
        } else {
            for (ptrdiff_t position = 0, to; position < positions; position = to) {
                ptrdiff_t blocks[LANES];
                to = positions;
                for (ptrdiff_t lane = 0; lane < LANES; lane++) {
                    ptrdiff_t place = (row + lane) * positions + position;
                    blocks[lane] = place / BLOCK;
                    to = std::min(to, position + BLOCK - place % BLOCK);
                }
                add(position, to);
                digest.close(blocks, place_of_row, positions);
            }
        }
        if ((channel += LANES) >= channels) channel = 0, image++;
    }
    if (block != NONE_OPEN) digest.close(block, open, positions);
}

template <Summary SUMMARY>
Result digest_pieces(const Tensor &tensor, ptrdiff_t first, ptrdiff_t end) {
    if (tensor.positions) {
        Digest<SUMMARY, true> digest;
        add_strips(tensor, first, end, digest);
        return digest.result();
    }
    Digest<SUMMARY, false> digest;
    for (; first < end; first++) add_block(tensor, first, digest);
    return digest.result();
}

template <Summary SUMMARY>
Result digest_item(const Tensor &tensor, ptrdiff_t item) {
    ptrdiff_t first = item * tensor.pieces_of_item(), end = std::min(tensor.pieces(), first + tensor.pieces_of_item());
    Result result = digest_pieces<SUMMARY>(tensor, first, end);
    return SUMMARY == FINITE && result.largest >= INFINITE ? digest_item<ANY>(tensor, item) : result;
}

}  // namespace

EXPORTED const char *source() { return SOURCE; }

// Of each tensor `tensors` has the addresses of words and of turned weights or 0, the bytes, 1 for float32, and images,
// positions and channels in channels_last order or zeros. Results are the sum over blocks of (mix(block) | 1) * (sum over words of
// weight * word), the words in the order of the axes, and of float32 values the largest magnitude and the sum of
// squares (both float64, of finite values), the number of values that are not finite, and the sketch: sum number `place %
// 8` has the finite values, with a minus where bit 31 of the weight differs from bit 63 of mix(block).
// Behind 4,096 weights there are 16 of any value.
EXPORTED int digests(ptrdiff_t threads, ptrdiff_t number, const int64_t *tensors, const int32_t *weights,
                     int64_t *results) {
    auto tensor = [&](ptrdiff_t i) {
        const int64_t *row = tensors + 7 * i;
        auto words = [](int64_t address) { return reinterpret_cast<const uint32_t *>(address); };
        return Tensor{words(row[0]), reinterpret_cast<const uint32_t *>(weights), words(row[1]), row[2], row[4], row[5],
                      row[6]};
    };
    Memory<int64_t> firsts(number + 1);
    if (!firsts) return NO_MEMORY;
    firsts[0] = 0;
    for (ptrdiff_t i = 0; i < number; i++) firsts[i + 1] = firsts[i] + tensor(i).items();
    Memory<Result> parts(firsts[number]);
    if (!parts) return NO_MEMORY;
// OpenMP's threads are torch's too, and mostly awake; a pool of our own would wait for a processor that they hold.
#if defined(_OPENMP)
#pragma omp parallel for num_threads(int(threads)) schedule(dynamic)
#endif
    for (ptrdiff_t item = 0; item < firsts[number]; item++) {
        ptrdiff_t i = std::upper_bound(firsts.data, firsts.data + number + 1, item) - firsts.data - 1;
        auto digest = tensors[7 * i + 3] ? digest_item<FINITE> : digest_item<NONE>;
        parts[item] = digest(tensor(i), item - firsts[i]);
    }
    for (ptrdiff_t i = 0; i < number; i++) {
        Result sum = {0, 0, 0, 0, {}};
        for (ptrdiff_t item = firsts[i]; item < firsts[i + 1]; item++) {
            sum.hash += parts[item].hash;
            sum.squares += parts[item].squares;
            sum.largest = std::max(sum.largest, parts[item].largest);
            sum.not_finite += parts[item].not_finite;
            for (int j = 0; j < SUMS; j++) sum.sketch[j] += parts[item].sketch[j];
        }
        double largest = load<float>(&sum.largest);
        std::memcpy(results + ROW * i, &sum.hash, 8);
        std::memcpy(results + ROW * i + 1, &largest, 8);
        std::memcpy(results + ROW * i + 2, &sum.squares, 8);
        results[ROW * i + 3] = sum.not_finite;
        std::memcpy(results + ROW * i + 4, sum.sketch, sizeof sum.sketch);
    }
    return DONE;
}
