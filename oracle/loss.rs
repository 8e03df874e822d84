//! exp, log, softmax and cross entropy, in double.

use crate::stream::{Outcome, Request, Tensor};
use crate::sums::batch_sums;
use std::f64::consts::{LN_2, LOG2_E};

const TWO_52: f64 = (1_u64 << 52) as f64;

/// exp(x) for x up to 0: ln 2 = HIGH + LOW (Cody and Waite 1980), and Taylor's series to r^13.
pub fn exp(x: f64) -> f64 {
    const HIGH: f64 = 0x162e42fefa0000_u64 as f64 / TWO_52 / 2.0; // 0x1.62e42fefa0000p-1
    const LOW: f64 = 0x1cf79abc9e3b3a_u64 as f64 / TWO_52 / (1_u64 << 40) as f64; // 0x1.cf79abc9e3b3ap-40
    let x = if x < -700.0 { -700.0 } else { x };
    let k = x.mul_add(LOG2_E, 1.5 * TWO_52) - 1.5 * TWO_52;
    let r = (-k).mul_add(LOW, (-k).mul_add(HIGH, x));
    let term = |power: u64| 1.0 / (1..=power).product::<u64>() as f64;
    let series = (0..13).rev().fold(term(13), |sum, power| r.mul_add(sum, term(power)));
    series * 2_f64.powi(k as i32)
}

/// log(x) by the series of the inverse hyperbolic tangent of s.
pub fn log(x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return x;
    }
    if x <= 0.0 {
        return if x == 0.0 { f64::NEG_INFINITY } else { f64::NAN };
    }
    let (k, m) = split(x);
    let s = (m - 1.0) / (m + 1.0);
    let term = |power: i32| 1.0 / f64::from(power + 1);
    let series = (0..11).rev().fold(term(22), |sum, half| (s * s).mul_add(sum, term(2 * half)));
    k.mul_add(LN_2, 2.0 * s * series)
}

/// x = 2^k m with m in [0.75, 1.5).
fn split(x: f64) -> (f64, f64) {
    let (x, shift) = if x < f64::MIN_POSITIVE { (x * 2.0 * TWO_52, 53) } else { (x, 0) };
    let k = f64::from((x.to_bits() >> 52) as i32 - 1023 - shift);
    let m = f64::from_bits(x.to_bits() << 12 >> 12 | 1023 << 52);
    if m < 1.5 { (k, m) } else { (k + 1.0, m / 2.0) }
}

/// Exponentials of an image, their sum and the largest score.
pub struct Image {
    e: Vec<f64>,
    z: f64,
    m: f64,
}

impl Image {
    pub fn new(scores: &[f32]) -> Image {
        // f32::max leaves NaN out; its exponential makes Z and all results NaN.
        let m = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let e: Vec<f64> = scores.iter().map(|&score| exp(f64::from(score) - m)).collect();
        let z = e.iter().fold(0.0, |sum, e| sum + e);
        Image { e, z, m }
    }

    /// The loss, if this is the score of the label.
    pub fn loss(&self, score: f32) -> f64 {
        log(self.z) - (f64::from(score) - self.m)
    }

    pub fn softmax(&self) -> impl Iterator<Item = f32> + '_ {
        self.e.iter().map(|e| (e / self.z) as f32)
    }

    fn all(scores: &[f32], classes: usize) -> Vec<Image> {
        scores.chunks_exact(classes).map(Image::new).collect()
    }
}

pub fn softmax(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape: [usize; 2] = request.shape(0)?;
    let images = Image::all(&request.f32(0, &shape)?, shape[1]);
    let values = images.iter().flat_map(Image::softmax);
    Ok(vec![Tensor::f32("result", &shape, &values.collect::<Vec<_>>())])
}

pub fn cross_entropy(request: &Request) -> Outcome<Vec<Tensor>> {
    let [images, classes] = request.shape(0)?;
    let scores = request.f32(0, &[images, classes])?;
    let labels = request.labels(1, images, classes)?;
    let all = Image::all(&scores, classes);
    let sum = batch_sums(images, 1, 1, |image, sum| {
        sum[0] += all[image].loss(scores[image * classes + labels[image]]);
    });
    Ok(vec![Tensor::f32("loss", &[1], &[(sum[0] / images as f64) as f32])])
}

pub fn cross_entropy_backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let incoming = request.f32(0, &[1])?[0];
    let [images, classes] = request.shape(1)?;
    let labels = request.labels(2, images, classes)?;
    let mut values = Vec::new();
    for (image, label) in Image::all(&request.f32(1, &[images, classes])?, classes).iter().zip(labels) {
        for (k, e) in image.e.iter().enumerate() {
            let target = if k == label { 1.0 } else { 0.0 };
            values.push(((e / image.z - target) / images as f64) as f32 * incoming);
        }
    }
    Ok(vec![Tensor::f32("gradient", &[images, classes], &values)])
}

/// A function of each value.
pub fn each(request: &Request, function: fn(f64) -> f64) -> Outcome<Vec<Tensor>> {
    let shape = request.any_shape(0)?;
    let values: Vec<f64> = request.f64(0, shape)?.into_iter().map(function).collect();
    Ok(vec![Tensor::f64("result", shape, &values)])
}
