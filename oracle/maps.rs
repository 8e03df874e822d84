//! Maps in channels_last memory, and the sizes of what slides over them.

use crate::stream::{require, Outcome, Request, Tensor};

/// Values are [image][row][column][channel]. The weights of a convolution are maps too, an image each output.
pub struct Maps {
    pub images: usize,
    pub size: [usize; 2],
    pub channels: usize,
    pub values: Vec<f32>,
}

impl Maps {
    pub fn zeros(images: usize, size: [usize; 2], channels: usize) -> Maps {
        Maps { images, size, channels, values: vec![0.0; images * size[0] * size[1] * channels] }
    }

    pub fn read(request: &Request, index: usize) -> Outcome<Maps> {
        let shape = request.shape(index)?;
        let [images, channels, height, width] = shape;
        let mut maps = Maps::zeros(images, [height, width], channels);
        for (index, plane) in request.f32(index, &shape)?.chunks_exact(height * width).enumerate() {
            for (position, &value) in plane.iter().enumerate() {
                maps.at_mut(index / channels * height * width + position)[index % channels] = value;
            }
        }
        Ok(maps)
    }

    pub fn tensor(&self, name: &str) -> Tensor {
        let positions = self.positions();
        let mut planes = Vec::with_capacity(self.values.len());
        for index in 0..self.images * self.channels {
            let first = index / self.channels * positions;
            planes.extend((first..first + positions).map(|position| self.at(position)[index % self.channels]));
        }
        Tensor::f32(name, &self.shape(), &planes)
    }

    pub fn shape(&self) -> [usize; 4] {
        [self.images, self.channels, self.size[0], self.size[1]]
    }

    /// Positions of one image.
    pub fn positions(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The channels at a position, counted through all images.
    pub fn at(&self, position: usize) -> &[f32] {
        &self.values[position * self.channels..][..self.channels]
    }

    pub fn at_mut(&mut self, position: usize) -> &mut [f32] {
        &mut self.values[position * self.channels..][..self.channels]
    }

    /// The position, counted through all images, of a place in an image if it lies inside.
    pub fn inside(&self, image: usize, [row, column]: [isize; 2]) -> Option<usize> {
        let [height, width] = self.size;
        let is_inside = row >= 0 && column >= 0 && row < height as isize && column < width as isize;
        is_inside.then(|| (image * height + row as usize) * width + column as usize)
    }
}

/// The place (row, column) of something counted row by row.
pub fn place(index: usize, columns: usize) -> [usize; 2] {
    [index / columns, index % columns]
}

pub struct Geometry {
    pub stride: [usize; 2],
    /// Top, bottom, left and right.
    pub padding: [usize; 4],
    pub groups: usize,
}

impl Geometry {
    pub fn read(request: &Request) -> Outcome<Geometry> {
        let groups = if request.has("groups") { request.number("groups")? } else { 1 };
        let geometry = Geometry { stride: request.sizes("stride")?, padding: request.sizes("padding")?, groups };
        require(geometry.stride[0] * geometry.stride[1] * groups > 0, "stride and groups must be at least 1")?;
        Ok(geometry)
    }

    /// Padding at the top and at the left.
    pub fn before(&self) -> [usize; 2] {
        [self.padding[0], self.padding[2]]
    }

    /// Whether a kernel may be computed by fewer products.
    pub fn is_suitable(&self, kernel: [usize; 2]) -> bool {
        kernel == [3, 3] && self.stride == [1, 1] && self.groups == 1
    }

    /// The place in the map that a tap of a result sees.
    pub fn seen(&self, result: [usize; 2], tap: [usize; 2]) -> [isize; 2] {
        [0, 1].map(|axis| (result[axis] * self.stride[axis] + tap[axis]) as isize - self.before()[axis] as isize)
    }

    pub fn results(&self, size: [usize; 2], kernel: [usize; 2]) -> Outcome<[usize; 2]> {
        let padded = [0, 1].map(|axis| size[axis] + self.padding[2 * axis] + self.padding[2 * axis + 1]);
        let is_inside = [0, 1].iter().all(|&axis| kernel[axis] > 0 && kernel[axis] <= padded[axis]);
        require(is_inside, "the kernel is empty or larger than the padded map")?;
        Ok([0, 1].map(|axis| (padded[axis] - kernel[axis]) / self.stride[axis] + 1))
    }
}
