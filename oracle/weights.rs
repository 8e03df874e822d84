//! Gradients of weights and bias of a convolution.

use crate::maps::{place, Geometry, Maps};
use crate::stream::{require, Outcome, Request, Tensor};
use crate::sums::{add_to, batch_sums, cut_sums, cuts, exact_to, fma_to, part_length, rounded, tree};
use crate::sums::{LEAF, SECTION, SEGMENT};
use crate::winograd::{self, Axis};
use std::ops::{Add, Range};

/// Sums are [tap][channel of the group][group][output of the group].
struct Sums<'a> {
    maps: &'a Maps,
    gradient: &'a Maps,
    geometry: &'a Geometry,
    kernel: [usize; 2],
    /// Images of the whole batch, of which `maps` may be a part.
    whole: usize,
}

impl Sums<'_> {
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The position in the maps that a tap sees from a position of the gradient, if it lies inside.
    fn seen(&self, tap: usize, position: usize) -> Option<usize> {
        let positions = self.gradient.positions();
        let result = place(position % positions, self.gradient.size[1]);
        self.maps.inside(position / positions, self.geometry.seen(result, place(tap, self.kernel[1])))
    }

    fn leaf(&self, images: Range<usize>) -> Vec<f32> {
        let axes = Axis::both(self.gradient.size, self.maps.size, self.geometry.seen([0, 0], [0, 0]));
        let is_suitable = self.geometry.is_suitable(self.kernel);
        if is_suitable && winograd::has_weight_gradient(axes, self.maps.channels, self.gradient.channels) {
            let sums = winograd::weight_gradient(self.maps, self.gradient, images.clone(), axes);
            if sums.iter().all(|sum| sum.is_finite()) {
                return sums;
            }
        }
        let positions = self.gradient.positions();
        let range = images.start * positions..images.end * positions;
        if self.whole < LEAF && self.whole * positions <= 64 {
            // Chains of exact products in double.
            let cuts = [range.len(), range.len()];
            return rounded(&self.of_range(range, cuts, exact_to));
        }
        let p = part_length(positions * self.whole.min(LEAF));
        let mut segments = cuts(range, SEGMENT).map(|segment| self.of_range(segment, [SECTION, p], fma_to));
        let mut sums = segments.next().unwrap_or_default();
        segments.for_each(|segment| add_to(&mut sums, &segment));
        sums
    }

    /// Sums over a range of positions of the gradient, cut into sections and parts.
    fn of_range<T: Copy + Default + Add<Output = T>>(
        &self,
        range: Range<usize>,
        cuts: [usize; 2],
        fma_to: fn(&mut [T], f32, &[f32]),
    ) -> Vec<T> {
        let groups = self.geometry.groups;
        let [channels, outputs] = [self.maps, self.gradient].map(|maps| maps.channels / groups);
        let mut sums = Vec::new();
        for tap in 0..self.taps() {
            let seen: Vec<_> = range.clone().map(|position| self.seen(tap, position)).collect();
            for (channel, group) in (0..channels).flat_map(|channel| (0..groups).map(move |group| (channel, group))) {
                sums.extend(cut_sums(range.clone(), cuts, outputs, |position, part| {
                    if let Some(place) = seen[position - range.start] {
                        let value = self.maps.at(place)[group * channels + channel];
                        fma_to(part, value, &self.gradient.at(position)[group * outputs..]);
                    }
                }));
            }
        }
        sums
    }
}

/// The gradient of the weights, as maps with an image each output.
pub fn weight_gradient(maps: &Maps, gradient: &Maps, geometry: &Geometry, kernel: [usize; 2], whole: usize) -> Maps {
    let sums = Sums { maps, gradient, geometry, kernel, whole };
    let ordered = tree(&cuts(0..maps.images, LEAF).map(|images| sums.leaf(images)).collect::<Vec<_>>());
    let mut result = Maps::zeros(gradient.channels, kernel, maps.channels / geometry.groups);
    for (index, value) in ordered.into_iter().enumerate() {
        let (row, output) = (index / result.images, index % result.images);
        let (tap, channel) = (row / result.channels, row % result.channels);
        result.at_mut(output * sums.taps() + tap)[channel] = value;
    }
    result
}

pub fn bias_gradient(gradient: &Maps) -> Vec<f32> {
    rounded(&batch_sums(gradient.images, gradient.positions(), gradient.channels, |position, sums| {
        exact_to(sums, 1.0, gradient.at(position));
    }))
}

pub fn weight(request: &Request) -> Outcome<Vec<Tensor>> {
    let geometry = Geometry::read(request)?;
    let (maps, gradient) = (Maps::read(request, 0)?, Maps::read(request, 1)?);
    let (kernel, whole) = (request.sizes("kernel")?, request.number("whole")?);
    let is_output = gradient.images == maps.images && gradient.size == geometry.results(maps.size, kernel)?;
    require(is_output, "the shape of the gradient is not that of the output")?;
    let is_divisible = maps.channels % geometry.groups == 0 && gradient.channels % geometry.groups == 0;
    require(is_divisible && whole >= maps.images, "groups or the whole batch do not fit the maps")?;
    Ok(vec![weight_gradient(&maps, &gradient, &geometry, kernel, whole).tensor("gradient")])
}

pub fn bias(request: &Request) -> Outcome<Vec<Tensor>> {
    let gradient = Maps::read(request, 0)?;
    Ok(vec![Tensor::f32("gradient", &[gradient.channels], &bias_gradient(&gradient))])
}
