//! Four float32, or two doubles, at a time: WebAssembly has no fused multiply-add, so that products and sums are in double.
//!
//! The product of two float32 is exact in double. Its sum with a third one is rounded to double, and then to float32. The
//! second rounding is right but where the first one was inexact and gave the middle between two float32, or where the
//! result is denormal. There are two ways to a right one. `Odd` moves an inexact sum to the neighbour whose last bit is
//! 1, from which every rounding to fewer bits is right (Boldo and Melquiond 2008). `Near` rounds by integers, twice as
//! fast, and tells where a sum was a middle, so that it can be computed again. It needs values that `Extent::suits`.

use crate::winograd::Value;
use std::arch::wasm32::*;
use std::ops::{Add, Mul, Neg, Sub};

#[derive(Clone, Copy)]
pub struct Lanes(pub v128);

impl Lanes {
    pub fn splat(value: f32) -> Lanes {
        Lanes(f32x4_splat(value))
    }

    /// The first four values, or as many as there are, and then zeros.
    pub fn load(values: &[f32]) -> Lanes {
        if let Some(four) = values.first_chunk::<4>() {
            return Lanes(unsafe { v128_load(four.as_ptr().cast()) });
        }
        let mut four = [0.0; 4];
        four.iter_mut().zip(values).for_each(|(lane, &value)| *lane = value);
        Lanes::load(&four)
    }

    pub fn store(self, values: &mut [f32]) {
        if let Some(four) = values.first_chunk_mut::<4>() {
            return unsafe { v128_store(four.as_mut_ptr().cast(), self.0) };
        }
        let mut four = [0.0; 4];
        self.store(&mut four);
        values.iter_mut().zip(four).for_each(|(value, lane)| *value = lane);
    }

    pub fn doubles(self) -> [v128; 2] {
        let high = i64x2_shuffle::<1, 1>(self.0, self.0);
        [f64x2_promote_low_f32x4(self.0), f64x2_promote_low_f32x4(high)]
    }

    pub fn of_doubles(doubles: [v128; 2]) -> Lanes {
        let [low, high] = doubles.map(|pair| f32x4_demote_f64x2_zero(pair));
        Lanes(i64x2_shuffle::<0, 2>(low, high))
    }
}

impl Add for Lanes {
    type Output = Lanes;
    fn add(self, other: Lanes) -> Lanes {
        Lanes(f32x4_add(self.0, other.0))
    }
}

impl Sub for Lanes {
    type Output = Lanes;
    fn sub(self, other: Lanes) -> Lanes {
        Lanes(f32x4_sub(self.0, other.0))
    }
}

impl Mul for Lanes {
    type Output = Lanes;
    fn mul(self, other: Lanes) -> Lanes {
        Lanes(f32x4_mul(self.0, other.0))
    }
}

impl Neg for Lanes {
    type Output = Lanes;
    fn neg(self) -> Lanes {
        Lanes(f32x4_neg(self.0))
    }
}

impl Value for Lanes {
    fn of(value: f32) -> Lanes {
        Lanes::splat(value)
    }

    fn fma(self, factor: Lanes, sum: Lanes) -> Lanes {
        let ([a, b], [c, d], [e, f]) = (self.doubles(), factor.doubles(), sum.doubles());
        Lanes::of_doubles([odd_sum(f64x2_mul(a, c), e), odd_sum(f64x2_mul(b, d), f)])
    }
}

/// The sum of doubles; an inexact one is the neighbour, of the two, whose last bit is 1.
fn odd_sum(a: v128, b: v128) -> v128 {
    let sum = f64x2_add(a, b);
    let of_b = f64x2_sub(sum, a);
    let error = f64x2_add(f64x2_sub(a, f64x2_sub(sum, of_b)), f64x2_sub(b, of_b));
    // Infinities and NaN have the error NaN, and remain.
    let is_inexact = f64x2_gt(f64x2_abs(error), f64x2_splat(0.0));
    let is_beyond = i64x2_shr(v128_xor(error, sum), 63);
    v128_bitselect(v128_or(i64x2_add(sum, is_beyond), i64x2_splat(1)), sum, is_inexact)
}

/// How the sum of products and a float32, both in double, is rounded.
pub trait Rounding {
    /// The sums of four; `ties` has a lane that is 0 once one has to be computed again.
    fn add(products: [v128; 2], sums: [v128; 2], ties: &mut v128) -> [v128; 2];
}

/// Not at all: a chain in double.
pub struct Exact;
/// To float32, whatever the values.
pub struct Odd;
/// To float32, but for middles.
pub struct Near;

impl Rounding for Exact {
    fn add([a, b]: [v128; 2], [c, d]: [v128; 2], _ties: &mut v128) -> [v128; 2] {
        [f64x2_add(a, c), f64x2_add(b, d)]
    }
}

impl Rounding for Odd {
    fn add([a, b]: [v128; 2], [c, d]: [v128; 2], _ties: &mut v128) -> [v128; 2] {
        Lanes::of_doubles([odd_sum(a, c), odd_sum(b, d)]).doubles()
    }
}

impl Rounding for Near {
    fn add([a, b]: [v128; 2], [c, d]: [v128; 2], ties: &mut v128) -> [v128; 2] {
        // A double has 29 bits more than a float32. With half of the last place added they are 0 in a middle alone.
        let half = i64x2_splat(1 << 28);
        let (low, high) = (i64x2_add(f64x2_add(a, c), half), i64x2_add(f64x2_add(b, d), half));
        *ties = u32x4_min(*ties, u32x4_shl(i32x4_shuffle::<0, 2, 4, 6>(low, high), 3));
        let kept = i64x2_splat(-1 << 29);
        [v128_and(low, kept), v128_and(high, kept)]
    }
}

pub fn no_ties() -> v128 {
    u32x4_splat(u32::MAX)
}

pub fn has_ties(ties: v128) -> bool {
    !u32x4_all_true(ties)
}

/// sum + value x weight for each of 4 Q lanes along the values; the weights are [value][lane].
#[inline(always)]
pub fn chain<R: Rounding, const Q: usize>(
    sums: &mut [[v128; 2]; Q],
    values: &[f64],
    weights: &[f32],
    ties: &mut v128,
) {
    for (&value, weights) in values.iter().zip(weights.chunks_exact(4 * Q)) {
        let value = f64x2_splat(value);
        for (sums, weights) in sums.iter_mut().zip(weights.chunks_exact(4)) {
            let pair = |pair: &[f32]| f64x2_promote_low_f32x4(unsafe { v128_load64_zero(pair.as_ptr().cast()) });
            let products = [f64x2_mul(value, pair(&weights[..2])), f64x2_mul(value, pair(&weights[2..]))];
            *sums = R::add(products, *sums, ties);
        }
    }
}

/// Exponents, as float32 has them, of the smallest value that is not 0 and of the largest.
#[derive(Clone, Copy)]
pub struct Extent {
    smallest: u32,
    largest: u32,
}

impl Extent {
    pub fn of(values: &[f32]) -> Extent {
        let (mut smallest, mut largest) = (u32::MAX, 0);
        for value in values {
            let bits = value.to_bits() << 1;
            // 0 becomes the largest number.
            smallest = smallest.min(bits.wrapping_sub(1));
            largest = largest.max(bits);
        }
        // Denormals have the places of the exponent 1.
        Extent { smallest: (smallest >> 24).max(1), largest: largest >> 24 }
    }

    /// Whether `Near` is right for a sum of up to 1024 products with another's values, from a sum below 2^121: all products
    /// are multiples of 2^-149, as all float32 are, so that denormal sums are exact, and no sum is above 2^125.
    pub fn suits(self, other: Extent) -> bool {
        let is_finite = self.largest.max(other.largest) < 255;
        is_finite && self.smallest + other.smallest > 150 && self.largest + other.largest < 367
    }

    pub fn is_below_2_121(self) -> bool {
        self.largest < 248
    }
}
