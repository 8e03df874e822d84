//! Linear layers.

use crate::maps::{Geometry, Maps};
use crate::stream::{Outcome, Request, Tensor};
use crate::sums::{double, exact_to, rounded};
use crate::weights::{bias_gradient, weight_gradient};

/// For each row, the chain from `start` over value x row of `matrix`, in double; rounded once.
fn chains(rows: &[f32], matrix: &[f32], start: &[f32]) -> Vec<f32> {
    let mut results = Vec::new();
    for row in rows.chunks_exact(matrix.len() / start.len()) {
        let mut chain = double(start);
        for (&value, weights) in row.iter().zip(matrix.chunks_exact(start.len())) {
            exact_to(&mut chain, value, weights);
        }
        results.extend(rounded(&chain));
    }
    results
}

pub fn forward(request: &Request) -> Outcome<Vec<Tensor>> {
    let [images, features] = request.shape(0)?;
    let [outputs, _] = request.shape(1)?;
    let rows = request.f32(0, &[images, features])?;
    let weight = request.f32(1, &[outputs, features])?;
    let bias = if request.inputs() > 2 { request.f32(2, &[outputs])? } else { vec![0.0; outputs] };
    Ok(vec![Tensor::f32("result", &[images, outputs], &output(&rows, &weight, &bias))])
}

/// The results of each row, of a weight [output][feature].
pub fn output(rows: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (outputs, features) = (bias.len(), weight.len() / bias.len());
    let place = |index: usize| index % outputs * features + index / outputs;
    let transposed: Vec<f32> = (0..weight.len()).map(|index| weight[place(index)]).collect();
    chains(rows, &transposed, bias)
}

pub fn backward(request: &Request) -> Outcome<Vec<Tensor>> {
    let [images, outputs] = request.shape(0)?;
    let [_, features] = request.shape(1)?;
    let weight = request.f32(2, &[outputs, features])?;
    let maps = |index, channels| -> Outcome<Maps> {
        Ok(Maps { images, size: [1, 1], channels, values: request.f32(index, &[images, channels])? })
    };
    let (gradient, rows) = (maps(0, outputs)?, maps(1, features)?);
    let geometry = Geometry { stride: [1, 1], padding: [0; 4], groups: 1 };
    let of_rows = chains(&gradient.values, &weight, &vec![0.0; features]);
    let of_weight = weight_gradient(&rows, &gradient, &geometry, [1, 1], images);
    Ok(vec![
        Tensor::f32("rows", &[images, features], &of_rows),
        Tensor::f32("weight", &[outputs, features], &of_weight.values),
        Tensor::f32("bias", &[outputs], &bias_gradient(&gradient)),
    ])
}
