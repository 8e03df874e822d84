//! Cuts of sums, leaves of a batch and the tree over them.

use crate::fused::fma;
use std::ops::{Add, Range};

pub const LEAF: usize = 8;
pub const SEGMENT: usize = 256;
pub const SECTION: usize = 64;

/// The largest power of two p with p p <= 2 n, at most 32.
pub fn part_length(n: usize) -> usize {
    [32, 16, 8, 4, 2].into_iter().find(|p| p * p <= 2 * n).unwrap_or(1)
}

/// A range cut into pieces of a length; the last may be shorter.
pub fn cuts(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(length).map(move |start| start..end.min(start + length))
}

pub fn add_to<T: Copy + Add<Output = T>>(sums: &mut [T], terms: &[T]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum = *sum + term;
    }
}

/// sum = fma(factor, term, sum) for each element.
pub fn fma_to(sums: &mut [f32], factor: f32, terms: &[f32]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum = fma(factor, term, *sum);
    }
}

/// The same in double, where the products are exact.
pub fn exact_to(sums: &mut [f64], factor: f32, terms: &[f32]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum = f64::from(factor).mul_add(f64::from(term), *sum);
    }
}

pub fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// n leaves are split at the largest power of two below n: left plus right.
pub fn tree<T: Copy + Add<Output = T>>(leaves: &[Vec<T>]) -> Vec<T> {
    if leaves.len() == 1 {
        return leaves[0].clone();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let mut sums = tree(left);
    add_to(&mut sums, &tree(right));
    sums
}

/// Sums over a batch in double: the tree over leaves of chains over segments of chains from 0 over positions.
/// `add` adds the terms of a position, counted through all images, to the sums.
pub fn batch_sums(images: usize, positions: usize, width: usize, add: impl Fn(usize, &mut [f64])) -> Vec<f64> {
    let leaf = |images: Range<usize>| {
        let mut sums = vec![0.0; width];
        for segment in cuts(images.start * positions..images.end * positions, SEGMENT) {
            let mut chains = vec![0.0; width];
            segment.for_each(|position| add(position, &mut chains));
            add_to(&mut sums, &chains);
        }
        sums
    };
    tree(&cuts(0..images, LEAF).map(leaf).collect::<Vec<_>>())
}

/// Sums of a range cut into sections (or units) and those into parts: a part is a chain from 0, a section the chain
/// of its parts from 0; sections are added in order. `add` adds the terms of a step to the chains of its part.
pub fn cut_sums<T: Copy + Default + Add<Output = T>>(
    range: Range<usize>,
    [section, part]: [usize; 2],
    width: usize,
    mut add: impl FnMut(usize, &mut [T]),
) -> Vec<T> {
    let zeros = vec![T::default(); width];
    let (mut sums, mut of_section, mut of_part) = (zeros.clone(), zeros.clone(), zeros);
    for section in cuts(range, section) {
        of_section.fill(T::default());
        for part in cuts(section, part) {
            of_part.fill(T::default());
            part.for_each(|step| add(step, &mut of_part));
            add_to(&mut of_section, &of_part);
        }
        add_to(&mut sums, &of_section);
    }
    sums
}
