//! Convolution: its output and the gradient of its maps.

use crate::fused::fma;
use crate::maps::{place, Geometry, Maps};
use crate::stream::{require, Outcome, Request, Tensor};
use crate::sums::{add_to, double, exact_to, fma_to, part_length};
use crate::winograd::{Axis, Winograd};

pub const SEGMENT: usize = 128;
/// Sums of up to so many steps are chains in double.
pub const EXACT: usize = 32;

/// Weights in the order of steps, [row][column][input of the group][group][output of the group].
pub struct Kernel {
    pub size: [usize; 2],
    pub groups: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub weight: Vec<f32>,
}

impl Kernel {
    fn of_output(weight: &Maps, groups: usize) -> Kernel {
        let (size, inputs, outputs) = (weight.size, weight.channels, weight.images / groups);
        let mut ordered = Vec::new();
        for step in 0..weight.positions() * inputs {
            let (tap, input) = (step / inputs, step % inputs);
            ordered.extend((0..weight.images).map(|output| weight.at(output * weight.positions() + tap)[input]));
        }
        Kernel { size, groups, inputs, outputs, weight: ordered }
    }

    /// The kernel of the gradient of the maps, for a remainder of (row, column) modulo stride.
    fn of_gradient(weight: &Maps, geometry: &Geometry, k: [usize; 2]) -> Kernel {
        let (groups, stride) = (geometry.groups, geometry.stride);
        let (inputs, outputs) = (weight.images / groups, weight.channels);
        let size = [0, 1].map(|axis| (weight.size[axis].saturating_sub(k[axis]) + stride[axis] - 1) / stride[axis]);
        let mut ordered = Vec::new();
        for step in 0..size[0] * size[1] * inputs {
            let (a, input) = (place(step / inputs, size[1]), step % inputs);
            let [row, column] = [0, 1].map(|axis| k[axis] + (size[axis] - 1 - a[axis]) * stride[axis]);
            for group in 0..groups {
                let image = (group * inputs + input) * weight.size[0];
                ordered.extend_from_slice(weight.at((image + row) * weight.size[1] + column));
            }
        }
        Kernel { size, groups, inputs, outputs, weight: ordered }
    }

    /// The direct sums of a result whose first tap sees `first`. `result` holds the bias, or 0.
    fn direct(&self, maps: &Maps, image: usize, first: [isize; 2], result: &mut [f32]) {
        let inside = |tap: usize| {
            let [row, column] = place(tap, self.size[1]);
            let position = maps.inside(image, [first[0] + row as isize, first[1] + column as isize])?;
            Some((tap, maps.at(position)))
        };
        let taps: Vec<(usize, &[f32])> = (0..self.size[0] * self.size[1]).filter_map(inside).collect();
        if self.groups > 1 && self.inputs == 1 && self.outputs == 1 {
            return depthwise_chain(&taps, &self.weight, result);
        }
        let n = self.size[0] * self.size[1] * self.inputs;
        for (group, result) in result.chunks_exact_mut(self.outputs).enumerate() {
            let mut steps = Vec::with_capacity(n);
            for &(tap, values) in &taps {
                let values = &values[group * self.inputs..][..self.inputs];
                steps.extend(values.iter().enumerate().map(|(input, &value)| (tap * self.inputs + input, value)));
            }
            let weights = |step| &self.weight[(step * self.groups + group) * self.outputs..][..self.outputs];
            if n <= EXACT {
                exact_chain(&steps, weights, result);
            } else {
                cut_chain(&steps, part_length(n), weights, result);
            }
        }
    }
}

/// One chain of fma in float32 for each channel.
fn depthwise_chain(taps: &[(usize, &[f32])], weight: &[f32], result: &mut [f32]) {
    for &(tap, values) in taps {
        let weights = &weight[tap * result.len()..];
        for ((sum, &value), &weight) in result.iter_mut().zip(values).zip(weights) {
            *sum = fma(value, weight, *sum);
        }
    }
}

/// The chain of exact products in double, rounded once.
fn exact_chain<'a>(steps: &[(usize, f32)], weights: impl Fn(usize) -> &'a [f32], result: &mut [f32]) {
    let mut chain = double(result);
    for &(step, value) in steps {
        exact_to(&mut chain, value, weights(step));
    }
    for (result, sum) in result.iter_mut().zip(chain) {
        *result = sum as f32;
    }
}

/// The sum cut into segments of parts of p steps; segments and parts without a step are left out.
fn cut_chain<'a>(steps: &[(usize, f32)], p: usize, weights: impl Fn(usize) -> &'a [f32], result: &mut [f32]) {
    let mut of_segment = vec![0.0; result.len()];
    let mut of_part = vec![0.0; result.len()];
    for (index, segment) in pieces(steps, SEGMENT).into_iter().enumerate() {
        // The first segment begins from the bias, which `result` holds.
        let sum = if index == 0 { &mut *result } else { &mut of_segment };
        for part in pieces(segment, p) {
            of_part.fill(0.0);
            for &(step, value) in part {
                fma_to(&mut of_part, value, weights(step));
            }
            add_to(sum, &of_part);
        }
        if index > 0 {
            add_to(result, &of_segment);
            of_segment.fill(0.0);
        }
    }
}

/// Steps that have the same number of the piece, of a length, in which they lie.
fn pieces(mut steps: &[(usize, f32)], length: usize) -> Vec<&[(usize, f32)]> {
    let mut pieces = Vec::new();
    while let Some(&(first, _)) = steps.first() {
        let (piece, rest) = steps.split_at(steps.partition_point(|&(step, _)| step / length == first / length));
        pieces.push(piece);
        steps = rest;
    }
    pieces
}

/// Results of all images: by fewer products where there is a scheme and all of an image's results are finite.
fn each_image(
    maps: &Maps,
    winograd: Option<Winograd>,
    bias: &Option<Vec<f32>>,
    results: &mut Maps,
    direct: impl Fn(usize, [usize; 2], &mut [f32]),
) {
    let (positions, columns) = (results.positions(), results.size[1]);
    for image in 0..maps.images {
        let range = image * positions..(image + 1) * positions;
        if let Some(winograd) = &winograd {
            winograd.results(maps, image, bias, results);
            if range.clone().all(|position| results.at(position).iter().all(|value| value.is_finite())) {
                continue;
            }
        }
        for position in range {
            let result = results.at_mut(position);
            match bias {
                Some(bias) => result.copy_from_slice(bias),
                None => result.fill(0.0),
            }
            direct(image, place(position % positions, columns), result);
        }
    }
}

/// Maps (or gradient) and weight; the outputs of the weight must be divisible among the groups.
fn read(request: &Request, geometry: &Geometry) -> Outcome<(Maps, Maps)> {
    let (maps, weight) = (Maps::read(request, 0)?, Maps::read(request, 1)?);
    require(weight.images % geometry.groups == 0, "the outputs cannot be divided among the groups")?;
    Ok((maps, weight))
}

pub fn forward(request: &Request) -> Outcome<Vec<Tensor>> {
    let geometry = Geometry::read(request)?;
    let (maps, weight) = read(request, &geometry)?;
    let bias = if request.inputs() > 2 { Some(request.f32(2, &[weight.images])?) } else { None };
    require(maps.channels == weight.channels * geometry.groups, "the channels of maps and weight differ")?;
    let size = geometry.results(maps.size, weight.size)?;
    Ok(vec![output(&maps, &weight, &bias, &geometry, size).tensor("result")])
}

pub fn output(maps: &Maps, weight: &Maps, bias: &Option<Vec<f32>>, geometry: &Geometry, size: [usize; 2]) -> Maps {
    let kernel = Kernel::of_output(weight, geometry.groups);
    let mut results = Maps::zeros(maps.images, size, weight.images);
    let axes = Axis::both(size, maps.size, geometry.seen([0, 0], [0, 0]));
    let winograd = if geometry.is_suitable(weight.size) { Winograd::new(&kernel, axes) } else { None };
    each_image(maps, winograd, bias, &mut results, |image, place, result| {
        kernel.direct(maps, image, geometry.seen(place, [0, 0]), result);
    });
    results
}

pub fn backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let geometry = Geometry::read(request)?;
    let (gradient, weight) = read(request, &geometry)?;
    let size = [request.number("height")?, request.number("width")?];
    let is_output = gradient.channels == weight.images && gradient.size == geometry.results(size, weight.size)?;
    require(is_output, "the shape of the gradient is not that of the output")?;
    let (stride, padding) = (geometry.stride, geometry.before());
    let remainders = (0..stride[0] * stride[1]).map(|index| place(index, stride[1]));
    let kernels: Vec<Kernel> = remainders.map(|k| Kernel::of_gradient(&weight, &geometry, k)).collect();
    let mut results = Maps::zeros(gradient.images, size, weight.channels * geometry.groups);
    let axes = Axis::both(size, gradient.size, padding.map(|padding| padding as isize - 2));
    let winograd = if geometry.is_suitable(weight.size) { Winograd::new(&kernels[0], axes) } else { None };
    each_image(&gradient, winograd, &None, &mut results, |image, place, result| {
        let padded = [0, 1].map(|axis| place[axis] + padding[axis]);
        let kernel = &kernels[padded[0] % stride[0] * stride[1] + padded[1] % stride[1]];
        let first = [0, 1].map(|axis| (padded[axis] / stride[axis] + 1) as isize - kernel.size[axis] as isize);
        kernel.direct(&gradient, image, first, result);
    });
    Ok(vec![results.tensor("gradient")])
}
