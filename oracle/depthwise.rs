//! Depth-wise convolutions, four channels at a time.

use crate::direct::classes;
use crate::lanes::{has_ties, no_ties, Extent, Lanes, Near, Odd, Rounding};
use crate::layer::Shape;
use std::arch::wasm32::{f64x2_mul, v128};

/// Weights [tap][channel].
pub struct Depthwise {
    weights: Vec<f32>,
    extent: Extent,
}

impl Depthwise {
    /// `weights` are [channel][tap].
    pub fn new(shape: &Shape, weights: &[f32]) -> Depthwise {
        let (taps, channels) = (shape.taps(), shape.channels);
        let ordered = (0..weights.len()).map(|index| weights[index % channels * taps + index / channels]).collect();
        Depthwise { weights: ordered, extent: Extent::of(weights) }
    }

    pub fn apply(&self, shape: &Shape, maps: &[f32], bias: Option<&[f32]>, results: &mut [f32]) {
        let zeros = vec![0.0; shape.channels];
        let bias = bias.unwrap_or(&zeros);
        let is_near = self.extent.suits(Extent::of(maps)) && Extent::of(bias).is_below_2_121() && shape.taps() <= 1024;
        let [rows, columns] = [0, 1].map(|axis| classes(shape, axis));
        let places = rows.iter().flat_map(|rows| rows.results.clone().map(move |row| (row, &rows.taps)));
        for (row, row_taps) in places {
            for (column, column_taps) in columns.iter().flat_map(|of| of.results.clone().map(move |column| (column, &of.taps))) {
                let taps = row_taps.clone().flat_map(|row| column_taps.clone().map(move |column| [row, column]));
                let terms = taps.map(|tap| {
                    let [y, x] = shape.geometry.seen([row, column], tap).map(|place| place as usize);
                    (y * shape.size[1] + x, tap[0] * shape.kernel[1] + tap[1])
                });
                let terms: Vec<[&[f32]; 2]> = terms
                    .map(|(position, tap)| [&maps[position * shape.channels..], &self.weights[tap * shape.channels..]])
                    .collect();
                let result = &mut results[(row * shape.results[1] + column) * shape.channels..][..shape.channels];
                for (quad, result) in result.chunks_mut(4).enumerate() {
                    let first = quad * 4;
                    let start = Lanes::load(&bias[first..]).doubles();
                    let mut ties = no_ties();
                    let mut sums = start;
                    if is_near {
                        sums = chain::<Near>(&terms, first, start, &mut ties);
                    }
                    if !is_near || has_ties(ties) {
                        sums = chain::<Odd>(&terms, first, start, &mut ties);
                    }
                    Lanes::of_doubles(sums).store(result);
                }
            }
        }
    }
}

fn chain<R: Rounding>(terms: &[[&[f32]; 2]], first: usize, mut sums: [v128; 2], ties: &mut v128) -> [v128; 2] {
    for terms in terms {
        let [[a, b], [c, d]] = terms.map(|values| Lanes::load(&values[first..]).doubles());
        sums = R::add([f64x2_mul(a, c), f64x2_mul(b, d)], sums, ties);
    }
    sums
}
