//! Convolutions by fewer products, four channels or outputs at a time: as winograd.rs has them.

use crate::direct::{blocks, store, Plan, Terms};
use crate::lanes::{Extent, Lanes};
use crate::layer::Shape;
use crate::maps::place;
use crate::winograd::{choice, turn, Axis, Scheme, CHANNELS};

/// Blocks of outputs have 4 Q lanes.
const Q: usize = 4;

pub struct Fewer {
    schemes: [Scheme<Lanes>; 2],
    axes: [Axis; 2],
    /// [point][block of outputs][input][lane]
    weights: Vec<f32>,
    extent: Extent,
}

impl Fewer {
    /// None if the convolution is computed directly. `weights` are [output][channel][tap].
    pub fn new(shape: &Shape, weights: &[f32]) -> Option<Fewer> {
        if !shape.geometry.is_suitable(shape.kernel) {
            return None;
        }
        let axes = Axis::both(shape.results, shape.size, shape.geometry.seen([0, 0], [0, 0]));
        let (inputs, outputs) = (shape.channels, shape.outputs);
        let schemes: [Scheme<Lanes>; 2] = choice(axes, inputs, outputs)?;
        let n = schemes.map(|scheme| scheme.n);
        let mut turned = vec![0.0; n[0] * n[1] * blocks::<Q>(outputs) * inputs * 4 * Q];
        // A lane of `turn` is an input and four outputs.
        let read = |lane: usize, [row, column]: [usize; 2]| {
            let first = lane / inputs * 4;
            let at = |output: usize| (output * inputs + lane % inputs) * 9 + row * 3 + column;
            Lanes::load(&[0, 1, 2, 3].map(|lane| weights.get(at(first + lane)).copied().unwrap_or(0.0)))
        };
        turn(schemes.map(|scheme| scheme.weights), [[3, 3], n], outputs.div_ceil(4) * inputs, read, |lane, at, value| {
            let (quad, input) = (lane / inputs, lane % inputs);
            let block = (at[0] * n[1] + at[1]) * blocks::<Q>(outputs) + quad / Q;
            value.store(&mut turned[((block * inputs + input) * Q + quad % Q) * 4..]);
        });
        Some(Fewer { schemes, axes, extent: Extent::of(&turned), weights: turned })
    }

    /// Writes the results; whether all are finite.
    pub fn apply(&self, shape: &Shape, maps: &[f32], bias: Option<&[f32]>, results: &mut [f32]) -> bool {
        let n = self.schemes.map(|scheme| scheme.n);
        let tiles = self.grid()[0] * self.grid()[1];
        let (inputs, width) = (shape.channels, blocks::<Q>(shape.outputs) * 4 * Q);
        let values = self.values(shape, maps);
        let is_near = self.extent.suits(Extent::of(&values));
        let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let plan = Plan::new((0..inputs).map(|input| (input, input)), CHANNELS);
        let mut sums = vec![0.0; n[0] * n[1] * tiles * width];
        for (block, weights) in self.weights.chunks_exact(inputs * 4 * Q).enumerate() {
            let (point, block) = (block / blocks::<Q>(shape.outputs), block % blocks::<Q>(shape.outputs));
            let terms = Terms { values: &values, weights, is_near };
            for row in point * tiles..(point + 1) * tiles {
                let sum = plan.cut_sum(&terms, row * inputs, [Lanes::splat(0.0); Q]);
                store(sum, &mut sums[row * width + block * 4 * Q..][..4 * Q]);
            }
        }
        self.write(shape, &sums, bias, results);
        results.iter().all(|value| value.is_finite())
    }

    fn grid(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.axes[axis].tiles(self.schemes[axis]))
    }

    /// The values of tiles: [point][tile][input].
    fn values(&self, shape: &Shape, maps: &[f32]) -> Vec<f32> {
        let (schemes, axes, grid, inputs) = (self.schemes, self.axes, self.grid(), shape.channels);
        let n = schemes.map(|scheme| scheme.n);
        let tiles = grid[0] * grid[1];
        let mut values = vec![0.0; n[0] * n[1] * tiles * inputs];
        for tile in 0..tiles {
            let i = place(tile, grid[1]);
            let first = [0, 1].map(|axis| axes[axis].first(schemes[axis], i[axis]));
            let read = |quad: usize, [row, column]: [usize; 2]| {
                let position = shape.inside([first[0] + row as isize, first[1] + column as isize]);
                position.map_or(Lanes::splat(0.0), |position| Lanes::load(&maps[position * inputs..][..inputs][quad * 4..]))
            };
            let sizes = [schemes.map(|scheme| scheme.seen), n];
            turn(schemes.map(|scheme| scheme.values), sizes, inputs.div_ceil(4), read, |quad, [row, column], value| {
                let at = ((row * n[1] + column) * tiles + tile) * inputs;
                value.store(&mut values[at..][..inputs][quad * 4..]);
            });
        }
        values
    }

    /// Results from the sums at all points.
    fn write(&self, shape: &Shape, sums: &[f32], bias: Option<&[f32]>, results: &mut [f32]) {
        let (schemes, grid, outputs) = (self.schemes, self.grid(), shape.outputs);
        let (n, m) = (schemes.map(|scheme| scheme.n), schemes.map(|scheme| scheme.m));
        let (tiles, width) = (grid[0] * grid[1], blocks::<Q>(outputs) * 4 * Q);
        for tile in 0..tiles {
            let i = place(tile, grid[1]);
            let read = |quad: usize, [row, column]: [usize; 2]| {
                Lanes::load(&sums[((row * n[1] + column) * tiles + tile) * width + quad * 4..])
            };
            let functions = schemes.map(|scheme| scheme.results);
            turn(functions, [n, m], outputs.div_ceil(4), read, |quad, [row, column], result| {
                let at = [i[0] * m[0] + row, i[1] * m[1] + column];
                if at[0] < shape.results[0] && at[1] < shape.results[1] {
                    let position = at[0] * shape.results[1] + at[1];
                    let result = bias.map_or(result, |bias| result + Lanes::load(&bias[quad * 4..]));
                    result.store(&mut results[position * outputs..][..outputs][quad * 4..]);
                }
            });
        }
    }
}
