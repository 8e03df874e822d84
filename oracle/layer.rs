//! A convolution that has its weights in order, for images of one size.

use crate::depthwise::Depthwise;
use crate::direct::Direct;
use crate::fewer::Fewer;
use crate::maps::Geometry;

pub struct Shape {
    pub geometry: Geometry,
    /// Of the maps.
    pub size: [usize; 2],
    pub channels: usize,
    pub kernel: [usize; 2],
    pub results: [usize; 2],
    pub outputs: usize,
}

impl Shape {
    pub fn groups(&self) -> usize {
        self.geometry.groups
    }

    /// Channels of a group.
    pub fn inputs(&self) -> usize {
        self.channels / self.groups()
    }

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The position of a place in the maps if it lies inside.
    pub fn inside(&self, [row, column]: [isize; 2]) -> Option<usize> {
        let is_inside = (0..self.size[0] as isize).contains(&row) && (0..self.size[1] as isize).contains(&column);
        is_inside.then(|| row as usize * self.size[1] + column as usize)
    }
}

enum Form {
    Depthwise(Depthwise),
    /// Up to four outputs a group.
    Narrow(Direct<1>),
    Wide(Direct<4>),
    /// By fewer products, and the weights as they came: they are needed once a result is not finite.
    Fewer(Fewer, Vec<f32>),
}

pub struct Layer {
    pub shape: Shape,
    form: Form,
}

impl Layer {
    /// `weights` are [output][channel of the group][tap].
    pub fn new(shape: Shape, weights: &[f32]) -> Layer {
        let form = if shape.groups() > 1 && shape.inputs() == 1 && shape.outputs == shape.channels {
            Form::Depthwise(Depthwise::new(&shape, weights))
        } else if let Some(fewer) = Fewer::new(&shape, weights) {
            Form::Fewer(fewer, weights.to_vec())
        } else if shape.outputs / shape.groups() <= 4 {
            Form::Narrow(Direct::new(&shape, weights))
        } else {
            Form::Wide(Direct::new(&shape, weights))
        };
        Layer { shape, form }
    }

    pub fn apply(&self, maps: &[f32], bias: Option<&[f32]>, results: &mut [f32]) {
        let shape = &self.shape;
        match &self.form {
            Form::Depthwise(depthwise) => depthwise.apply(shape, maps, bias, results),
            Form::Narrow(direct) => direct.apply(shape, maps, bias, results),
            Form::Wide(direct) => direct.apply(shape, maps, bias, results),
            Form::Fewer(fewer, weights) => {
                if !fewer.apply(shape, maps, bias, results) {
                    Direct::<4>::new(shape, weights).apply(shape, maps, bias, results);
                }
            }
        }
    }
}
