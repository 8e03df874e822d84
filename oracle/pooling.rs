//! Average and maximum pooling, on planes.

use crate::maps::{place, Geometry};
use crate::stream::{require, Outcome, Request, Tensor};
use std::ops::Range;

/// The positions of a plane in a window of rows and columns.
fn positions([rows, columns]: [Range<usize>; 2], width: usize) -> Vec<usize> {
    rows.flat_map(|row| columns.clone().map(move |column| row * width + column)).collect()
}

/// The positions that each output averages: floor(i size / n) to ceil((i + 1) size / n) - 1 along an axis.
pub fn average_windows(outputs: [usize; 2], size: [usize; 2]) -> Vec<Vec<usize>> {
    let range = |axis: usize, i: usize| {
        i * size[axis] / outputs[axis]..((i + 1) * size[axis] + outputs[axis] - 1) / outputs[axis]
    };
    let window = |i: [usize; 2]| positions([range(0, i[0]), range(1, i[1])], size[1]);
    (0..outputs[0] * outputs[1]).map(|output| window(place(output, outputs[1]))).collect()
}

pub fn average(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape = request.shape(0)?;
    let [images, channels, height, width] = shape;
    let outputs: [usize; 2] = request.sizes("output")?;
    let windows = average_windows(outputs, [height, width]);
    let mut results = Vec::new();
    for plane in request.f32(0, &shape)?.chunks_exact(height * width) {
        for window in &windows {
            let sum = window.iter().fold(0.0, |sum, &position| sum + f64::from(plane[position]));
            results.push((sum / window.len() as f64) as f32);
        }
    }
    Ok(vec![Tensor::f32("result", &[images, channels, outputs[0], outputs[1]], &results)])
}

pub fn average_backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let [images, channels, _, _] = request.shape(0)?;
    let outputs: [usize; 2] = request.sizes("output")?;
    let size = [request.number("height")?, request.number("width")?];
    let gradient = request.f32(0, &[images, channels, outputs[0], outputs[1]])?;
    let windows = average_windows(outputs, size);
    let mut results = Vec::new();
    for plane in gradient.chunks_exact(windows.len()) {
        let mut chains = vec![0.0; size[0] * size[1]];
        for (window, &gradient) in windows.iter().zip(plane) {
            let share = f64::from(gradient) / window.len() as f64;
            window.iter().for_each(|&position| chains[position] += share);
        }
        results.extend(chains.iter().map(|&sum| sum as f32));
    }
    Ok(vec![Tensor::f32("gradient", &[images, channels, size[0], size[1]], &results)])
}

/// Size of the output, and the positions that each of its places looks at.
fn maximum_windows(request: &Request, size: [usize; 2]) -> Outcome<([usize; 2], Vec<Vec<usize>>)> {
    let geometry = Geometry::read(request)?;
    let kernel: [usize; 2] = request.sizes("kernel")?;
    let outputs = geometry.results(size, kernel)?;
    require((0..4).all(|side| geometry.padding[side] < kernel[side / 2]), "a window may lie outside of the map")?;
    Ok((outputs, windows(&geometry, kernel, outputs, size)))
}

/// The positions that each place of the output looks at.
pub fn windows(geometry: &Geometry, kernel: [usize; 2], outputs: [usize; 2], size: [usize; 2]) -> Vec<Vec<usize>> {
    let window = |output: usize| {
        let first = geometry.seen(place(output, outputs[1]), [0, 0]);
        let range = |axis: usize| {
            let end = (first[axis] + kernel[axis] as isize).min(size[axis] as isize);
            first[axis].max(0) as usize..end as usize
        };
        positions([range(0), range(1)], size[1])
    };
    (0..outputs[0] * outputs[1]).map(window).collect()
}

/// The position of the largest value: the first of equal values and the last NaN.
pub fn largest(plane: impl Fn(usize) -> f32, window: &[usize]) -> usize {
    let larger = |best: usize, &position: &usize| {
        if plane(position) > plane(best) || plane(position).is_nan() { position } else { best }
    };
    window.iter().fold(window[0], larger)
}

pub fn maximum(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape = request.shape(0)?;
    let [images, channels, height, width] = shape;
    let (outputs, windows) = maximum_windows(request, [height, width])?;
    let mut results = Vec::new();
    for plane in request.f32(0, &shape)?.chunks_exact(height * width) {
        results.extend(windows.iter().map(|window| plane[largest(|position| plane[position], window)]));
    }
    Ok(vec![Tensor::f32("result", &[images, channels, outputs[0], outputs[1]], &results)])
}

pub fn maximum_backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape = request.shape(1)?;
    let [images, channels, height, width] = shape;
    let (outputs, windows) = maximum_windows(request, [height, width])?;
    let gradient = request.f32(0, &[images, channels, outputs[0], outputs[1]])?;
    let planes = request.f32(1, &shape)?;
    let mut results = vec![0.0; planes.len()];
    for (index, plane) in planes.chunks_exact(height * width).enumerate() {
        let sums = &mut results[index * plane.len()..][..plane.len()];
        for (window, gradient) in windows.iter().zip(&gradient[index * windows.len()..]) {
            sums[largest(|position| plane[position], window)] += gradient;
        }
    }
    Ok(vec![Tensor::f32("gradient", &shape, &results)])
}
