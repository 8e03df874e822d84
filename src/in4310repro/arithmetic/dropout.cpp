// Dropout: values of an image times 0 or 1/(1-p), drawn by Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011). A counter
// takes the place of a state, so that what is drawn depends on no thread, and the backward pass draws the same again.

#include "threads.hpp"
#include "vectors.hpp"

using namespace arithmetic;

namespace {

constexpr ptrdiff_t PIECE = 1 << 10;  // elements that a thread draws at once, a multiple of 4

// Four words for a counter: the number of four elements and the image, of which the low words come first.
struct Words {
    uint32_t of[4];

    Words(uint64_t block, uint64_t image, uint64_t key)
        : of{uint32_t(block), uint32_t(block >> 32), uint32_t(image), uint32_t(image >> 32)} {
        uint32_t low = uint32_t(key), high = uint32_t(key >> 32);
        for (int round = 0; round < 10; round++, low += 0x9E3779B9, high += 0xBB67AE85) {
            uint64_t first = uint64_t(of[0]) * 0xD2511F53, third = uint64_t(of[2]) * 0xCD9E8D57;
            of[0] = uint32_t(third >> 32) ^ of[1] ^ low, of[1] = uint32_t(third);
            of[2] = uint32_t(first >> 32) ^ of[3] ^ high, of[3] = uint32_t(first);
        }
    }
};

}  // namespace

// One word is drawn for each channel of an image: where it is below `limit` the values of all rows are multiplied by 0,
// elsewhere by `scale`.
EXPORTED int dropout(ptrdiff_t threads, ptrdiff_t images, ptrdiff_t rows, ptrdiff_t channels, const int64_t *identities,
                     ptrdiff_t key, ptrdiff_t limit, double scale, const float *values, float *result) {
    if (images < 0 || rows < 0 || channels < 0) return NONSENSE;
    ptrdiff_t pieces = (channels + PIECE - 1) / PIECE;
    parallel(int(threads), images * pieces, [&](ptrdiff_t item, int) {
        ptrdiff_t image = item / pieces, begin = item % pieces * PIECE, number = std::min(PIECE, channels - begin);
        float factors[PIECE];
        for (ptrdiff_t at = 0; at < number; at += 4) {
            Words words(uint64_t(begin + at) / 4, uint64_t(identities[image]), uint64_t(key));
            // A product, since a branch would often be predicted wrongly.
            for (int word = 0; word < 4; word++) factors[at + word] = float(words.of[word] >= uint64_t(limit)) * float(scale);
        }
        for (ptrdiff_t row = 0; row < rows; row++) {
            ptrdiff_t first = (image * rows + row) * channels + begin;
            for (ptrdiff_t at = 0; at < number; at++) result[first + at] = values[first + at] * factors[at];
        }
    });
    return DONE;
}
