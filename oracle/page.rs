//! What a page in a browser computes with: predictions of one image at a time, as WebAssembly without imports.
//!
//! Maps are float32 [height][width][channel]. The weights of a convolution are float32 [output][channel of the group]
//! [row][column], those of a linear layer [output][feature], as state dicts have them. Pointers are byte offsets in
//! `memory`; `0` stands for what is left out. Sizes are i32. A code is 0, or what is wrong: 1 a size that is negative, or
//! is 0 where it cannot be; 2 a window outside of the map; 3 more than memory can address; 4 an unknown form. A call that finds
//! no memory for what lies between traps.
//!
//! ```text
//! allocate(bytes) -> pointer, at a multiple of 64; 0 without memory        free(pointer, bytes)
//! prepare(pixels u8 [height][width][3], height, width, mean f32[3], deviation f32[3], result) -> code
//! layer(height, width, channels, weights, outputs, kernel_height, kernel_width, stride_y, stride_x,
//!       top, bottom, left, right, groups) -> layer, or 0 for sizes that cannot be
//! apply(layer, maps, bias or 0, result)
//! normalise(maps, positions, channels, weight or 0, bias or 0, mean, variance, epsilon f64, form, other or 0, result) -> code
//! add(values, number, other, result) -> code
//! max_pool(maps, height, width, channels, kernel, stride, padding, result) -> code
//! average_pool(maps, height, width, channels, rows, columns, result) -> code
//! linear(features, outputs, row, weight, bias or 0, result) -> code
//! softmax(classes, scores, result) -> code
//! loss(classes, scores, label) -> f64, NaN for a label that is no class
//! draw(ends f64[256], state u64[4], number, deviation f64, result) -> code
//! ```
//!
//! `layer` is a convolution that has its weights in order, for as many images of this size as there are; it keeps a copy of them.
//! Forms: 0 none, 1 ReLU, 2 ReLU6, 3 ReLU of the sum with the other map. The results of `normalise` and `add` may lie where an
//! input lies. `draw` draws normal numbers as NumPy: the ends of its ziggurat, and its PCG64 as state and increment, each
//! with the lower half first.

#![allow(dead_code)] // The modules of the program know gradients too.

mod convolution;
mod depthwise;
mod direct;
mod draws;
mod fewer;
mod fused;
mod lanes;
mod layer;
mod linear;
mod loss;
mod maps;
mod normalisation;
mod pooling;
mod stream;
mod sums;
mod weights;
mod winograd;

use draws::{Pcg64, Ziggurat};
use layer::{Layer, Shape};
use loss::Image;
use maps::Geometry;
use normalisation::{Activation, Channel};
use std::alloc::{alloc, dealloc, Layout};
use std::slice::{from_raw_parts, from_raw_parts_mut};

type Code = i32;
const SIZE: Code = 1;
const WINDOW: Code = 2;
const MEMORY: Code = 3;
const FORM: Code = 4;

/// Sizes that are at least 1, with a product that memory may hold.
fn sizes<const K: usize>(sizes: [i32; K]) -> Result<[usize; K], Code> {
    if sizes.iter().any(|&size| size < 1) {
        return Err(SIZE);
    }
    let product = sizes.iter().try_fold(4_i32, |product, &size| product.checked_mul(size));
    product.map(|_| sizes.map(|size| size as usize)).ok_or(MEMORY)
}

fn code(outcome: Result<(), Code>) -> Code {
    outcome.err().unwrap_or(0)
}

fn activation(form: i32) -> Result<Activation, Code> {
    match form {
        0 => Ok(Activation::None),
        1 | 3 => Ok(Activation::Relu),
        2 => Ok(Activation::Relu6),
        _ => Err(FORM),
    }
}

fn some<T>(pointer: *const T, length: usize) -> Option<&'static [T]> {
    (!pointer.is_null()).then(|| unsafe { from_raw_parts(pointer, length) })
}

#[no_mangle]
extern "C" fn allocate(bytes: usize) -> *mut u8 {
    Layout::from_size_align(bytes.max(1), 64).map_or(std::ptr::null_mut(), |layout| unsafe { alloc(layout) })
}

#[no_mangle]
unsafe extern "C" fn free(pointer: *mut u8, bytes: usize) {
    dealloc(pointer, Layout::from_size_align_unchecked(bytes.max(1), 64));
}

#[no_mangle]
unsafe extern "C" fn prepare(
    pixels: *const u8,
    height: i32,
    width: i32,
    mean: &[f32; 3],
    deviation: &[f32; 3],
    result: *mut f32,
) -> Code {
    code(sizes([height, width, 3]).map(|[height, width, _]| {
        for place in 0..height * width * 3 {
            let value = f32::from(*pixels.add(place)) / 255.0;
            *result.add(place) = (value - mean[place % 3]) / deviation[place % 3];
        }
    }))
}

#[no_mangle]
unsafe extern "C" fn layer(
    height: i32,
    width: i32,
    channels: i32,
    weights: *const f32,
    outputs: i32,
    kernel_height: i32,
    kernel_width: i32,
    stride_y: i32,
    stride_x: i32,
    top: i32,
    bottom: i32,
    left: i32,
    right: i32,
    groups: i32,
) -> *mut Layer {
    let (size, kernel, stride) = ([height, width], [kernel_height, kernel_width], [stride_y, stride_x]);
    let layer = made(size, [channels, outputs, groups], weights, kernel, stride, [top, bottom, left, right]);
    layer.map_or(std::ptr::null_mut(), |layer| Box::into_raw(Box::new(layer)))
}

#[no_mangle]
unsafe extern "C" fn apply(layer: &Layer, maps: *const f32, bias: *const f32, result: *mut f32) {
    let Shape { size, channels, results, outputs, .. } = layer.shape;
    let maps = from_raw_parts(maps, size[0] * size[1] * channels);
    let results = from_raw_parts_mut(result, results[0] * results[1] * outputs);
    layer.apply(maps, some(bias, outputs), results);
}

unsafe fn made(
    size: [i32; 2],
    [channels, outputs, groups]: [i32; 3],
    weights: *const f32,
    kernel: [i32; 2],
    stride: [i32; 2],
    padding: [i32; 4],
) -> Option<Layer> {
    let [height, width, channels] = sizes([size[0], size[1], channels]).ok()?;
    let [groups] = sizes([groups]).ok()?;
    let (stride, padding) = (sizes(stride).ok()?, padding.map(|side| side as usize));
    let [outputs, inputs, rows, columns] = sizes([outputs, (channels / groups) as i32, kernel[0], kernel[1]]).ok()?;
    if padding.iter().any(|&side| side > 1 << 16) || channels % groups + outputs % groups > 0 {
        return None;
    }
    let geometry = Geometry { stride, padding, groups };
    let results = geometry.results([height, width], [rows, columns]).ok()?;
    sizes([results[0] as i32, results[1] as i32, outputs as i32]).ok()?;
    let weights = from_raw_parts(weights, outputs * inputs * rows * columns);
    let (size, kernel) = ([height, width], [rows, columns]);
    let shape = Shape { geometry, size, channels, kernel, results, outputs };
    Some(Layer::new(shape, weights))
}

#[no_mangle]
unsafe extern "C" fn normalise(
    maps: *const f32,
    positions: i32,
    channels: i32,
    weight: *const f32,
    bias: *const f32,
    mean: *const f32,
    variance: *const f32,
    epsilon: f64,
    form: i32,
    other: *const f32,
    result: *mut f32,
) -> Code {
    code(sizes([positions, channels]).and_then(|[positions, channels]| {
        let activation = activation(form)?;
        if (form == 3) == other.is_null() {
            return Err(FORM);
        }
        let (weight, bias) = (some(weight, channels), some(bias, channels));
        let of = |c: usize| {
            let (weight, bias) = (weight.map_or(1.0, |weight| weight[c]), bias.map_or(0.0, |bias| bias[c]));
            Channel::new(f64::from(*mean.add(c)), f64::from(*variance.add(c)), epsilon, weight, bias)
        };
        let of_channels: Vec<Channel> = (0..channels).map(of).collect();
        for place in 0..positions * channels {
            let y = of_channels[place % channels].apply(*maps.add(place));
            let y = if form == 3 { y + *other.add(place) } else { y };
            *result.add(place) = activation.apply(y);
        }
        Ok(())
    }))
}

#[no_mangle]
unsafe extern "C" fn add(values: *const f32, number: i32, other: *const f32, result: *mut f32) -> Code {
    code(sizes([number]).map(|[number]| {
        (0..number).for_each(|place| *result.add(place) = *values.add(place) + *other.add(place));
    }))
}

#[no_mangle]
unsafe extern "C" fn max_pool(
    maps: *const f32,
    height: i32,
    width: i32,
    channels: i32,
    kernel: i32,
    stride: i32,
    padding: i32,
    result: *mut f32,
) -> Code {
    code(sizes([height, width, channels]).and_then(|[height, width, channels]| {
        let [kernel, stride] = sizes([kernel, stride])?;
        if padding < 0 || padding as usize >= kernel {
            return Err(WINDOW);
        }
        let geometry = Geometry { stride: [stride; 2], padding: [padding as usize; 4], groups: 1 };
        let outputs = geometry.results([height, width], [kernel; 2]).map_err(|_| WINDOW)?;
        for (output, window) in pooling::windows(&geometry, [kernel; 2], outputs, [height, width]).iter().enumerate() {
            for channel in 0..channels {
                let value = |position: usize| *maps.add(position * channels + channel);
                *result.add(output * channels + channel) = value(pooling::largest(value, window));
            }
        }
        Ok(())
    }))
}

#[no_mangle]
unsafe extern "C" fn average_pool(
    maps: *const f32,
    height: i32,
    width: i32,
    channels: i32,
    rows: i32,
    columns: i32,
    result: *mut f32,
) -> Code {
    code(sizes([height, width, channels]).and_then(|[height, width, channels]| {
        let [rows, columns, _] = sizes([rows, columns, channels as i32])?;
        for (output, window) in pooling::average_windows([rows, columns], [height, width]).iter().enumerate() {
            for channel in 0..channels {
                let value = |position: &usize| f64::from(*maps.add(position * channels + channel));
                let sum = window.iter().map(value).fold(0.0, |sum, value| sum + value);
                *result.add(output * channels + channel) = (sum / window.len() as f64) as f32;
            }
        }
        Ok(())
    }))
}

#[no_mangle]
unsafe extern "C" fn linear(
    features: i32,
    outputs: i32,
    row: *const f32,
    weight: *const f32,
    bias: *const f32,
    result: *mut f32,
) -> Code {
    code(sizes([features, outputs]).map(|[features, outputs]| {
        let zeros = vec![0.0; outputs];
        let (row, weight) = (from_raw_parts(row, features), from_raw_parts(weight, features * outputs));
        let results = linear::output(row, weight, some(bias, outputs).unwrap_or(&zeros));
        from_raw_parts_mut(result, outputs).copy_from_slice(&results);
    }))
}

#[no_mangle]
unsafe extern "C" fn softmax(classes: i32, scores: *const f32, result: *mut f32) -> Code {
    code(sizes([classes]).map(|[classes]| {
        let image = Image::new(from_raw_parts(scores, classes));
        let results = from_raw_parts_mut(result, classes);
        results.iter_mut().zip(image.softmax()).for_each(|(result, value)| *result = value);
    }))
}

#[no_mangle]
unsafe extern "C" fn loss(classes: i32, scores: *const f32, label: i32) -> f64 {
    if label < 0 || label >= classes {
        return f64::NAN;
    }
    let scores = from_raw_parts(scores, classes as usize);
    Image::new(scores).loss(scores[label as usize])
}

#[no_mangle]
unsafe extern "C" fn draw(ends: &[f64; 256], state: &[u64; 4], number: i32, deviation: f64, result: *mut f32) -> Code {
    code(sizes([number]).map(|[number]| {
        let whole = |low: usize| u128::from(state[low + 1]) << 64 | u128::from(state[low]);
        let mut random = Pcg64 { state: whole(0), increment: whole(2) };
        let ziggurat = Ziggurat(ends);
        (0..number).for_each(|place| *result.add(place) = (ziggurat.normal(&mut random) * deviation) as f32);
    }))
}
