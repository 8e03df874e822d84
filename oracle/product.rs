//! The product of a float64 matrix, transposed, with itself.

use crate::stream::{Outcome, Request, Tensor};
use crate::sums::{add_to, cuts};

pub fn product(request: &Request) -> Outcome<Vec<Tensor>> {
    let [rows, columns] = request.shape(0)?;
    let centred = request.f64(0, &[rows, columns])?;
    let mut segments = cuts(0..rows, 32).map(|segment| {
        let mut chains = vec![0.0; columns * columns];
        for row in centred[segment.start * columns..segment.end * columns].chunks_exact(columns) {
            for (chains, &left) in chains.chunks_exact_mut(columns).zip(row) {
                chains.iter_mut().zip(row).for_each(|(chain, &right)| *chain = left.mul_add(right, *chain));
            }
        }
        chains
    });
    let mut sums = segments.next().unwrap_or_default();
    segments.for_each(|segment| add_to(&mut sums, &segment));
    Ok(vec![Tensor::f64("result", &[columns, columns], &sums)])
}
