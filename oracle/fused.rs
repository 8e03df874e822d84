//! a b + c in float32, rounded once.

/// By the processor, or else the C library of the platform.
#[cfg(not(target_arch = "wasm32"))]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

/// WebAssembly has no such instruction, and the function that Rust takes instead rounds denormal results twice: the exact
/// product is added in double, and an inexact sum takes the neighbour whose last bit is 1 (Boldo and Melquiond 2008).
#[cfg(target_arch = "wasm32")]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    let of_c = sum - product;
    let error = (product - (sum - of_c)) + (c - of_c);
    // Infinities and NaN have the error NaN, and remain.
    if error == 0.0 || error.is_nan() || sum.to_bits() % 2 == 1 {
        return sum as f32;
    }
    let bits = sum.to_bits();
    f64::from_bits(if (error > 0.0) == (sum > 0.0) { bits + 1 } else { bits - 1 }) as f32
}
