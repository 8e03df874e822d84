// How a sum over a batch is ordered, so that a batch can be shared among processes without moving a bit.
//
// Leaf i holds the images 8 i to 8 i + 7 by their place in the batch; the last may be short. The positions of a leaf are
// cut into segments of 256; a segment is a chain over its positions, a leaf a chain over its segments. n leaves are
// split at the largest power of two below n; left plus right.

#pragma once

#include <algorithm>
#include <cstddef>

namespace arithmetic {

constexpr ptrdiff_t LEAF = 8;       // images
constexpr ptrdiff_t SEGMENT = 256;  // positions

struct Batch {
    ptrdiff_t images, positions;  // positions of one image

    ptrdiff_t rows() const { return images * positions; }
    ptrdiff_t leaves() const { return (images + LEAF - 1) / LEAF; }
    ptrdiff_t begin(ptrdiff_t leaf) const { return std::min(leaf * LEAF, images) * positions; }
    // Segments of every leaf but the last, which may have fewer.
    ptrdiff_t segments_of_leaf() const { return (std::min(LEAF, images) * positions + SEGMENT - 1) / SEGMENT; }
    ptrdiff_t segments_of_leaf(ptrdiff_t leaf) const { return (begin(leaf + 1) - begin(leaf) + SEGMENT - 1) / SEGMENT; }
    ptrdiff_t segments() const { return (leaves() - 1) * segments_of_leaf() + segments_of_leaf(leaves() - 1); }
    ptrdiff_t segment_begin(ptrdiff_t segment) const {
        ptrdiff_t leaf = segment / segments_of_leaf();
        return begin(leaf) + (segment - leaf * segments_of_leaf()) * SEGMENT;
    }
    ptrdiff_t segment_end(ptrdiff_t segment) const {
        return std::min(segment_begin(segment) + SEGMENT, begin(segment / segments_of_leaf() + 1));
    }
};

// Row `leaf` of the result is the chain of the leaf's rows of segments; in place, since it has no more rows.
template <typename T>
void chain_segments(const Batch &batch, T *sums, ptrdiff_t width) {
    for (ptrdiff_t leaf = 0; leaf < batch.leaves(); leaf++) {
        T *to = sums + leaf * width;
        const T *from = sums + leaf * batch.segments_of_leaf() * width;
        if (to != from) std::copy_n(from, width, to);
        for (ptrdiff_t segment = 1; segment < batch.segments_of_leaf(leaf); segment++)
            for (ptrdiff_t j = 0; j < width; j++) to[j] += from[segment * width + j];
    }
}

// How many of two or more leaves are on the left: the largest power of two below their number.
inline ptrdiff_t left_of(ptrdiff_t leaves) {
    ptrdiff_t left = 1;
    while (2 * left < leaves) left *= 2;
    return left;
}

// The first row becomes the sum of all.
template <typename T>
void add_tree(T *leaves, ptrdiff_t number, ptrdiff_t width) {
    if (number < 2) return;
    const ptrdiff_t left = left_of(number);
    add_tree(leaves, left, width);
    add_tree(leaves + left * width, number - left, width);
    for (ptrdiff_t j = 0; j < width; j++) leaves[j] += leaves[left * width + j];
}

// Sums of leaves that wait for their partner in the tree: two trees of one size are added as soon as both are there,
// the rest from the right, which splits at the largest power of two below the number of leaves. Leaf n finds as many
// sums waiting as n has bits.
inline ptrdiff_t waiting(ptrdiff_t leaves) {
    ptrdiff_t number = 0;
    for (; leaves; leaves &= leaves - 1) number++;
    return number;
}

}  // namespace arithmetic
